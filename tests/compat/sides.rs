//! The two sides of a comparison: one script, run by an ordinary user of the machine and in a sandbox.

use super::Outcomes;
use fireclay_tests::{image, run};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The ordinary user, when the tests are root: `nobody`.
const NOBODY: u32 = 65534;

/// The interpreter of the scripts on both sides, and of the image.
pub const PYTHON: &str = "/usr/bin/python3";

/// What the image is called.
pub const IMAGE: &str = "debian";

/// The same work, to be done on both sides.
pub struct Sides {
    /// Files that it needs.
    inputs: TempDir,
    /// A directory that is empty outside and does not exist inside; the work is done below it.
    place: TempDir,
}

impl Sides {
    /// Two sides without files.
    pub fn new() -> Self {
        let fresh = |name| tempfile::Builder::new().prefix(name).tempdir_in("/tmp").expect("there is a /tmp");
        let sides = Self { inputs: fresh("fireclay-inputs-"), place: fresh("fc-") };
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(sides.inputs.path(), open).expect("it is ours");
        if is_root() {
            std::os::unix::fs::chown(sides.place.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        sides
    }

    /// Adds a file to what the work needs.
    pub fn add(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.input(name), content).expect("it is ours");
        self
    }

    /// Where an input lies outside.
    pub fn input(&self, name: &str) -> PathBuf {
        self.inputs.path().join(name)
    }

    /// The directory of the work, which has the same name on both sides.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("r")
    }

    /// Runs a bash script of the inputs as an ordinary user, with the inputs as its directory.
    pub fn outside(&self, script: &str, args: &[&str]) -> Outcomes {
        let mut command = Command::new("setsid");
        command.arg("--wait");
        if is_root() {
            let id = NOBODY.to_string();
            command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let ran = run::feed(
            command.arg("bash").arg(script).arg(self.root()).args(args).current_dir(&self.inputs),
            b"",
        );
        assert_eq!(ran.code, 0, "outside: {}", ran.stderr);
        std::fs::remove_dir_all(self.root()).expect("root may, and so may its owner");
        Outcomes::parse(&ran.stdout)
    }

    /// Runs the same script in a sandbox of [`IMAGE`], with limits that are no hindrance.
    pub fn inside(&self, script: &str, args: &[&str]) -> Outcomes {
        let mut command = run::command(built());
        command.args(["run", "--local", "--image", IMAGE]);
        // Sparse files of CPython's tests are larger than 2 GiB; memory is taken only as it is used.
        for (limit, value) in
            [("memory", "3GiB"), ("disk", "6GiB"), ("output-limit", "64MiB"), ("processes", "1024")]
        {
            command.arg(format!("--{limit}={value}"));
        }
        command.args(["--cpus=2", "--timeout=500s"]);
        for entry in std::fs::read_dir(&self.inputs).expect("it is ours") {
            let path = entry.expect("it is ours").path();
            if path.file_name().is_some_and(|name| name != script) {
                command.arg("--file").arg(path);
            }
        }
        let ran = run::feed(command.arg(self.input(script)).arg(self.root()).args(args), b"");
        assert_eq!(ran.code, 0, "inside: {}", ran.stderr);
        Outcomes::parse(&ran.stdout)
    }
}

/// The data directory with an image that has Debian's Python and the tools of today: the shared image may be older than they are.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<&'static Path> = OnceLock::new();
    BUILT.get_or_init(|| {
        let data = image();
        let ran =
            run::feed(run::command(data).args(["image", "build", "--name", IMAGE, "--python", PYTHON]), b"");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        data
    })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The path of this directory's files.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat").join(name)
}
