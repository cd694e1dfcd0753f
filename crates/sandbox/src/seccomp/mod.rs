//! System-call filters as data: what user code and the cell's init may ask of the kernel. Installing them is for `sys`.
//!
//! The rows are `policy/seccomp/*.toml`, for reviewers. The build script turns them into the tables below, so that nothing is parsed
//! at run time and a row that does not make sense fails the build. `golden/` shows, number by number, what came out.

include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));

/// Returns the filter of user code, to be installed last before it runs.
pub fn job() -> &'static [libc::sock_filter] {
    &JOB
}

/// Returns the filter of the cell's init, to be installed once the job is forked.
pub fn init() -> &'static [libc::sock_filter] {
    &INIT
}

/// Returns the filter of a zygote; its forks install [`job`] on top.
pub fn zygote() -> &'static [libc::sock_filter] {
    &ZYGOTE
}

/// Returns the filter of the init of a sandbox that stays, installed before its first job; each job installs [`job`] on top.
pub fn stay() -> &'static [libc::sock_filter] {
    &STAY
}

/// Returns the filter of the process that serves sandboxes' proxies.
pub fn proxy() -> &'static [libc::sock_filter] {
    &PROXY
}

/// The text of every policy file the filters are made of, for the digest of the policy in force.
pub const POLICY_TEXT: &str = concat!(
    include_str!("../../../../policy/seccomp/job.toml"),
    include_str!("../../../../policy/seccomp/init.toml"),
    include_str!("../../../../policy/seccomp/zygote.toml"),
    include_str!("../../../../policy/seccomp/stay.toml"),
    include_str!("../../../../policy/seccomp/proxy.toml"),
    include_str!("../../../../policy/seccomp/syscalls-x86_64.toml"),
);

#[cfg(test)]
mod compile;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod tests;
