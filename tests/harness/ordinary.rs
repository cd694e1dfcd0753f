//! An ordinary user of this machine, with copies of the programs and an image of its own: for what root never sees.

use crate::run::{executable, loudly};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The user that tests of root become: nobody, as most systems number it.
const NOBODY: u32 = 65534;
/// Programs that are copied, since the place where they are built may be root's alone.
const PROGRAMS: [&str; 2] = ["fireclay", "driver"];

/// An ordinary user's directory. It goes when this is dropped.
#[derive(Debug)]
pub struct Ordinary {
    directory: tempfile::TempDir,
}

impl Ordinary {
    /// Prepares one; `None`, and says so past all capture, where ordinary users may not make user namespaces.
    pub fn prepare() -> Option<Self> {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
        for name in PROGRAMS {
            fs::copy(executable(name), directory.path().join(name)).expect("there is room for a program");
        }
        if rustix::process::geteuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let user = Self { directory };
        // With mounts, since some systems let anyone make the namespace and nobody use it.
        let mut probe = user.command("unshare");
        let probe = probe.args(["--map-root-user", "--mount", "true"]).stderr(Stdio::null()).status();
        if !probe.expect("there is a shell's `unshare`").success() {
            loudly("ordinary users may not make user namespaces here: NOT TESTED as one");
            return None;
        }
        let built = user.fireclay().args(["run", "-c", "pass"]).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "building an ordinary user's image failed: {said}");
        Some(user)
    }

    /// `fireclay` as this user, with its data directory.
    pub fn fireclay(&self) -> Command {
        let mut command = self.command(&self.program("fireclay"));
        command.arg("--data").arg(self.data());
        command
    }

    /// The driver as this user, to be given an [`crate::Order`].
    pub fn driver(&self) -> Command {
        let mut command = self.command(&self.program("driver"));
        command.arg(self.data());
        command
    }

    /// A program as this user, with none of our environment.
    fn command(&self, program: &str) -> Command {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
            command.args([&user, &group, "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.current_dir(self.directory.path()).env_clear().env("PATH", path);
        command
    }

    fn program(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}
