//! The report of what was really enforced around a run.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One layer of the wall. A run's result names those that held and those that were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// User namespace: the code's ids are nobody on the host, and nested ones are impossible.
    Userns,
    /// Process-id namespace: other processes do not exist for the code, and all of it dies with init.
    Pidns,
    /// Mount namespace, pivoted into a read-only overlay of a private image.
    Mountns,
    /// Network namespace with nothing but loopback.
    Netns,
    /// System V and POSIX message queues of its own.
    Ipcns,
    /// Host name of its own.
    Utsns,
    /// Cgroup namespace: no path of the host's tree is visible.
    Cgroupns,
    /// Memory, process and processor limits by control group.
    Cgroup,
    /// No capability in any set, bounding set empty, securebits locked.
    Capabilities,
    /// `no_new_privs`: no program gains anything by being executed.
    NoNewPrivs,
    /// Landlock rules over files, signals and abstract sockets.
    Landlock,
    /// The system-call allow-list.
    Seccomp,
}

impl Layer {
    /// Every layer, in the order the result lists them.
    pub const ALL: [Layer; 12] = [
        Self::Userns,
        Self::Pidns,
        Self::Mountns,
        Self::Netns,
        Self::Ipcns,
        Self::Utsns,
        Self::Cgroupns,
        Self::Cgroup,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Userns => "userns",
            Self::Pidns => "pidns",
            Self::Mountns => "mountns",
            Self::Netns => "netns",
            Self::Ipcns => "ipcns",
            Self::Utsns => "utsns",
            Self::Cgroupns => "cgroupns",
            Self::Cgroup => "cgroup",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no_new_privs",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|layer| layer.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|layer| layer.name()).collect();
            format!("unknown layer {text:?}: use one of {}", names.join(", "))
        })
    }
}

/// What held around a run, read back from the applied plan and the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Isolation {
    /// The level asked for; `default` is the only one so far.
    pub level: String,
    /// Layers in force.
    pub layers: Vec<Layer>,
    /// Layers that the machine could not give and the operator allowed to be absent.
    pub missing: Vec<Layer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_spelling() {
        for layer in Layer::ALL {
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
            assert_eq!(layer.name().parse::<Layer>().unwrap(), layer);
        }
    }
}
