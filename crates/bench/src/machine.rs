//! The machine, in one line, and whether it had other things to do.

use std::fs;

/// Kernel, processors, memory, and how busy it was in the last minute.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches(['\t', ' ', ':'])
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory_bytes("MemTotal").unwrap_or(0) >> 20;
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let busy = load.parse::<f64>().is_ok_and(|load| load > cores as f64 / 4.0);
    let note = if busy { ": NOT QUIET, times say little" } else { "" };
    let release = read("/proc/sys/kernel/osrelease");
    format!("Linux {}, {cores} x {model}, {memory} MiB, load {load}{note}", release.trim())
}

/// A line of `/proc/meminfo`.
pub(crate) fn memory_bytes(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}
