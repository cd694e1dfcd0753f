//! The host as a sandbox sees it that was not pivoted into its own root: for the positive controls of that step.

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount, mount_bind_recursive};
use std::os::fd::AsFd;
use std::path::Path;

/// `unshare(2)`.
const CLONE_NEWNS: i32 = 0x0002_0000;
/// Where the tree is put together, in a mount namespace of the caller's own.
const STAGE: &str = "/mnt";
/// Without a pivot the new root stays where it was attached. These names lead there, so that the interpreters and the program are
/// found; all else is the host's.
const LINKS: [(&str, &str); 3] =
    [("workspace", "/tmp/workspace"), ("opt", "/tmp/opt"), ("home", "/tmp/home")];

/// Moves the caller into a mount namespace in which the root is the host's and has the few names that a program needs. Nothing
/// changes for others. Root only.
pub fn show_host() -> anyhow::Result<()> {
    sys::process::unshare(CLONE_NEWNS)?;
    sys::mount::make_all_private()?;
    mount("none", STAGE, "tmpfs", MountFlags::empty(), None).context("mount the stage")?;
    let stage = Path::new(STAGE);
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, stage.join(name))?;
    }
    for entry in std::fs::read_dir("/")? {
        let entry = entry?;
        let place = stage.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, place)?;
        } else if kind.is_dir() && !place.is_symlink() && entry.path() != stage {
            std::fs::create_dir(&place)?;
            mount_bind_recursive(entry.path(), &place)
                .with_context(|| format!("bind {}", place.display()))?;
        }
    }
    let root = std::fs::File::open(stage)?;
    sys::mount::pivot_into(root.as_fd()).context("pivot into the stage")
}
