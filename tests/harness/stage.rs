//! The host as a sandbox sees it that was not pivoted into its own root: for the positive controls of that step.

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount, mount_bind_recursive, mount_remount};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// `unshare(2)`.
const CLONE_NEWNS: i32 = 0x0002_0000;
/// Where the tree is put together, in a mount namespace of the caller's own.
const STAGE: &str = "/mnt";
/// Without a pivot the new root stays where it was attached. These names lead there, so that the interpreters and the program are
/// found; all else is the host's.
const LINKS: [(&str, &str); 3] =
    [("workspace", "/tmp/workspace"), ("opt", "/tmp/opt"), ("home", "/tmp/home")];
/// The same where the places to write to are no mounts of their own, but directories of one.
const LINKS_TO_ONE: [(&str, &str); 3] =
    [("workspace", "/tmp/tmp/workspace"), ("opt", "/tmp/opt"), ("home/sandbox", "/tmp/tmp/home")];
/// Directories of the host that attacks would like to destroy.
const SEALED: [&str; 2] = ["usr", "etc"];

/// What of a shared directory stands where.
const SHARED: [(&str, &str); 2] = [("etc", "etc"), ("env", "usr/bin/env")];

/// Moves the caller into a mount namespace in which the root is the host's and has the few names that a program needs, and what
/// is in `shared` stands in its place. With `one_mount` those names lead to the scratch file system as a whole. Nothing changes for
/// others. Root only.
pub fn show_host(shared: Option<&Path>, one_mount: bool) -> anyhow::Result<()> {
    sys::process::unshare(CLONE_NEWNS)?;
    sys::mount::make_all_private()?;
    mount("none", STAGE, "tmpfs", MountFlags::empty(), None).context("mount the stage")?;
    let stage = Path::new(STAGE);
    for (name, target) in if one_mount { LINKS_TO_ONE } else { LINKS } {
        let link = stage.join(name);
        std::fs::create_dir_all(link.parent().unwrap_or(stage))?;
        std::os::unix::fs::symlink(target, link)?;
    }
    for entry in std::fs::read_dir("/")? {
        let entry = entry?;
        let place = stage.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, place)?;
        } else if kind.is_dir() && place.symlink_metadata().is_err() && entry.path() != stage {
            std::fs::create_dir(&place)?;
            mount_bind_recursive(entry.path(), &place)
                .with_context(|| format!("bind {}", place.display()))?;
        }
    }
    for place in SEALED.map(|name| stage.join(name)) {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(&place, flags, "").with_context(|| format!("seal {}", place.display()))?;
    }
    for (shared, (name, place)) in shared.iter().flat_map(|shared| SHARED.map(|pair| (shared, pair))) {
        mount_bind_recursive(shared.join(name), stage.join(place))
            .with_context(|| format!("share {place}"))?;
    }
    let root = std::fs::File::open(stage)?;
    sys::mount::pivot_into(root.as_fd()).context("pivot into the stage")
}

/// Copies of a program and of `/etc` that are everybody's, as an image would be that is neither private nor read-only. They go when
/// this is dropped.
#[derive(Debug)]
pub struct SharedImage(tempfile::TempDir);

impl SharedImage {
    /// Makes the copies on the disk that the images are on.
    pub fn make() -> Self {
        let directory = tempfile::tempdir_in(crate::image()).expect("the data directory is writable");
        let (etc, env) = (directory.path().join("etc"), directory.path().join("env"));
        let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status().expect("there is a cp");
        assert!(copied.success(), "copying /etc: {copied}");
        fs::copy("/usr/bin/env", &env).expect("there is an env");
        for place in [directory.path(), &etc, &etc.join("passwd"), &env] {
            fs::set_permissions(place, Permissions::from_mode(0o777)).expect("it is ours");
        }
        let mut hosts =
            fs::File::options().append(true).create(true).open(etc.join("hosts")).expect("it is ours");
        hosts.write_all(NAMES.as_bytes()).expect("there is room");
        Self(directory)
    }

    /// Where they are, for [`show_host`].
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Names that this machine knows, as one with a resolver would.
const NAMES: &str = "\n127.0.0.1 pypi.org metadata.google.internal example.com\n";
