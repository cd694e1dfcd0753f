//! Landlock: what a process may do with files below given directories, and to whom it may speak (landlock(7)).

use crate::error::{Error, Result};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use std::os::fd::OwnedFd;

/// What is allowed below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read files and list directories.
    Read,
    /// Also execute files.
    ReadExecute,
    /// Everything but making device nodes.
    Write,
    /// Read and write one file that is not made here: a device.
    Device,
}

/// The version of Landlock that the kernel has, 0 for none.
pub fn version() -> i32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel ignores the null pointer and size and returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// The faults of its Landlock that the kernel says it has repaired, one bit each (landlock(7), errata); 0 on kernels that do not say.
pub fn errata() -> i32 {
    const LANDLOCK_CREATE_RULESET_ERRATA: u32 = 2;
    // SAFETY: with this flag the kernel ignores the null pointer and size and returns a number.
    let errata = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            LANDLOCK_CREATE_RULESET_ERRATA,
        )
    };
    i32::try_from(errata).unwrap_or(0).max(0)
}

/// Restricts the calling thread for ever: files by `rules`, all else denied; no signal and no abstract socket beyond the
/// domain where the kernel has scopes. Uses what the kernel has, up to version 6.
pub fn restrict(rules: &[(OwnedFd, Rights)]) -> Result<()> {
    let status = created(rules)?.restrict_self().map_err(refused)?;
    match status.ruleset {
        landlock::RulesetStatus::NotEnforced => Err(NONE),
        _ => Ok(()),
    }
}

/// The same rules as a descriptor, for another process to restrict itself with (`landlock_restrict_self(2)`).
pub fn ruleset(rules: &[(OwnedFd, Rights)]) -> Result<OwnedFd> {
    Option::<OwnedFd>::from(created(rules)?).ok_or(NONE)
}

/// What a kernel without Landlock answers.
const NONE: Error = Error { call: "landlock", errno: libc::ENOSYS };

/// The crate says only that it failed, not with which errno; all its calls are refused by EINVAL, E2BIG or ENOMEM.
fn refused(_: landlock::RulesetError) -> Error {
    Error { call: "landlock", errno: libc::EINVAL }
}

fn created(rules: &[(OwnedFd, Rights)]) -> Result<RulesetCreated> {
    let abi = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?
        .scope(Scope::from_all(abi))
        .map_err(refused)?
        .create()
        .map_err(refused)?;
    for (fd, access) in rules {
        ruleset = ruleset.add_rule(PathBeneath::new(fd, bits(*access, abi))).map_err(refused)?;
    }
    Ok(ruleset)
}

fn bits(access: Rights, abi: ABI) -> landlock::BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match access {
        Rights::Read => read,
        Rights::ReadExecute => read | AccessFs::Execute,
        Rights::Write => {
            AccessFs::from_all(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
        // Their device calls too: those of the five that a sandbox has answer ENOTTY or ask for a capability.
        Rights::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
    }
}
