//! What a sandbox may do: defaults and ceilings of its limits. Parsed by its owner; here are only the values.

use crate::Limits;
use serde::{Deserialize, Serialize};

/// A complete policy, as `policy/default.toml` spells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What a run gets when it names nothing.
    pub limits: Limits,
    /// The most a run may ask for; larger wishes are clamped.
    pub ceiling: Limits,
}

impl Policy {
    /// The policy that ships with fireclay. A test holds it equal to `policy/default.toml`, so that no run pays for parsing.
    pub const DEFAULT: Policy = Policy {
        limits: Limits {
            timeout_ms: 20_000,
            memory_bytes: 512 << 20,
            cpus: 1.0,
            processes: 64,
            disk_bytes: 512 << 20,
            output_bytes: 1 << 20,
        },
        ceiling: Limits {
            timeout_ms: 86_400_000,
            memory_bytes: 1 << 40,
            cpus: 1024.0,
            processes: 32_768,
            disk_bytes: 1 << 40,
            output_bytes: 16 << 20,
        },
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_is_the_file() {
        let text = include_str!("../../../policy/default.toml");
        assert_eq!(toml::from_str::<Policy>(text).unwrap(), Policy::DEFAULT);
    }
}
