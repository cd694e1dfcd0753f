//! File systems and where they are seen, by the descriptor-based calls of Linux 5.2 and later: a path is never looked up twice.

use crate::error::{Error, Result, check};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a mount forbids, besides what its file system does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Device nodes do not work.
    pub no_devices: bool,
    /// Programs cannot be executed.
    pub no_execution: bool,
}

impl Attributes {
    /// The bits of `mount_setattr(2)`; set-user-id is ignored on every mount of ours.
    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::MOUNT_ATTR_NOSUID;
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.no_devices);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.no_execution);
        flags
    }
}

/// Makes a file system of `kind` with string `options` (an empty value is a flag), mounted nowhere yet.
pub fn make(kind: &CStr, options: &[(&CStr, &CStr)], attributes: Attributes) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(Error::of("fsopen"))?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key).map_err(Error::of("fsconfig"))?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)
                .map_err(Error::of("fsconfig"))?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(Error::of("fsconfig(FSCONFIG_CMD_CREATE)"))?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags())
        .map_err(Error::of("fsmount"))
}

/// A detached second view of what is at `path`, with its own attributes.
pub fn copy(directory: BorrowedFd<'_>, path: &CStr, attributes: Attributes) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(directory, path, flags).map_err(Error::of("open_tree"))?;
    set_attributes(tree.as_fd(), attributes)?;
    Ok(tree)
}

/// Shows `source` at `target` as well, both looked up from the working directory; the new mount has the restrictions of the
/// one that `source` is on. One call instead of three, for covers by the dozen.
pub fn bind(source: &CStr, target: &CStr) -> Result<()> {
    rustix::mount::mount_bind(source, target).map_err(Error::of("mount(MS_BIND)"))
}

/// Adds restrictions to a mount.
fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes) -> Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attr = MountAttr { set: u64::from(attributes.flags().bits()), clear: 0, propagation: 0, userns: 0 };
    let size = size_of::<MountAttr>();
    // SAFETY: the kernel copies `size` bytes of the structure before it returns; the path is a static empty string.
    check("mount_setattr", unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size,
        )
    })
    .map(drop)
}

/// Attaches a detached mount at `path`, relative to `directory`; the last part of the path is not followed if it is a link.
pub fn attach(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    rustix::mount::move_mount(mount, c"", directory, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(Error::of("move_mount"))
}

/// Stops every mount below `/` from passing changes to or from other namespaces.
pub fn make_all_private() -> Result<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    rustix::mount::mount_change(c"/", Flags::PRIVATE | Flags::REC).map_err(Error::of("mount(MS_PRIVATE)"))
}

/// Makes the mount at `root` the root, and lets go of the old one with everything on it.
pub fn pivot_into(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).map_err(Error::of("fchdir"))?;
    // Both the same: the old root ends up mounted over the new one, and is the one taken away (pivot_root(2), notes).
    rustix::process::pivot_root(c".", c".").map_err(Error::of("pivot_root"))?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(Error::of("umount2"))?;
    rustix::process::chdir(c"/").map_err(Error::of("chdir"))
}

/// The type of the file system a descriptor is on, as `statfs(2)` numbers it.
pub fn file_system_type(fd: BorrowedFd<'_>) -> Result<i64> {
    rustix::fs::fstatfs(fd).map(|stat| stat.f_type).map_err(Error::of("fstatfs"))
}
