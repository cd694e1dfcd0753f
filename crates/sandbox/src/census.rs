//! Counts what a sandbox holds where no control group does: by looking at every process of its PID namespace.

use std::fs;
use std::os::linux::fs::MetadataExt;

/// Resident memory, less shared files, of all processes in the PID namespace of `init`; 0 when init is gone.
pub fn resident_bytes(init: i32) -> u64 {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|meta| meta.st_ino()).ok();
    let Some(wanted) = namespace(&init.to_string()) else { return 0 };
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let processes = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    processes.filter(|pid| namespace(pid) == Some(wanted)).map(|pid| private_bytes(&pid)).sum()
}

/// Resident pages less those of files, from `statm` (proc(5)): size, resident, shared, in pages.
fn private_bytes(pid: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}

/// Processor time of a process and of what it waited for, in microseconds: fields 14 to 17 of `stat` (proc(5)), in clock ticks; `None`
/// if there is none. The name before them may hold anything.
pub fn cpu_us(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = text.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1))
}
