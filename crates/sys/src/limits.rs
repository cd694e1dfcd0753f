//! Resource limits of a process. Hard ones are only ever lowered: root without CAP_SYS_RESOURCE is common, and cannot raise them.

use crate::error::{Error, Result, check};

/// A resource of `setrlimit(2)`, by its number.
pub type Resource = libc::__rlimit_resource_t;

/// Lowers the soft and hard limit to `value`, or leaves a hard limit that is lower already.
pub fn lower(resource: Resource, value: u64) -> Result<()> {
    let value = lowered(resource, value)?;
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to a live rlimit.
    check("setrlimit", libc::c_long::from(unsafe { libc::setrlimit(resource, &raw const limit) })).map(drop)
}

/// Raises the soft limit of open files to the hard one: what was lowered by others for programs that use `select` is of no use here.
pub fn raise_open_files() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live, writable rlimit.
    check("getrlimit", libc::c_long::from(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }))?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live rlimit.
    check("setrlimit", libc::c_long::from(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }))
        .map(drop)
}

/// What [`lower`] would set: `value`, or the caller's hard limit if that is lower.
pub fn lowered(resource: Resource, value: u64) -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live, writable rlimit.
    check("getrlimit", libc::c_long::from(unsafe { libc::getrlimit(resource, &raw mut limit) }))?;
    Ok(value.min(limit.rlim_max))
}

/// Asks the kernel to prefer the calling process as a victim when memory runs out; children inherit it.
pub fn prefer_as_oom_victim() -> Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "1000").map_err(Error::of_io("write oom_score_adj"))
}
