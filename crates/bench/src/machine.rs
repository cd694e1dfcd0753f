//! The machine, in one line, and whether it has other things to do.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// How long processors are watched to see whether somebody else uses them.
const WATCHED: Duration = Duration::from_millis(300);
/// A machine whose processors are busier than this before anything is measured is not quiet.
const BUSY: f64 = 0.1;

/// Kernel, processors, memory, and how busy the processors are while nothing is measured. Takes as long as it watches.
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
    let release = read("/proc/sys/kernel/osrelease");
    format!("Linux {}, {cores} x {model}, {memory} MiB, {}", release.trim(), busyness())
}

/// How busy all processors are in a short time, in words.
fn busyness() -> String {
    let before = Ticks::now();
    sleep(WATCHED);
    let share = before.zip(Ticks::now()).and_then(|(before, now)| now.busy_since(&before));
    match share {
        Some(share) if share > BUSY => {
            format!("busy to {:.0} % with something else: NOT QUIET, times say little", share * 100.0)
        }
        Some(share) => format!("otherwise quiet ({:.0} %)", share * 100.0),
        None => "busy or not, nobody knows".to_owned(),
    }
}

/// Clock ticks of all processors since the machine started.
#[derive(Debug)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::of(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). What guests use is in user.
    fn of(text: &str) -> Option<Self> {
        let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { idle: fields.get(3)? + fields.get(4)?, all: fields.iter().sum() })
    }

    fn busy_since(&self, before: &Self) -> Option<f64> {
        let (idle, all) = (self.idle.checked_sub(before.idle)?, self.all.checked_sub(before.all)?);
        (all > 0).then(|| 1.0 - idle as f64 / all as f64)
    }
}

/// A line of `/proc/meminfo`.
pub(crate) fn memory_bytes(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_idle_is_busy() {
        let ticks = |text: &str| Ticks::of(text).unwrap();
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let now = ticks("cpu  110 0 55 870 60 0 0 5 0 0\n");
        assert!((now.busy_since(&before).unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(before.busy_since(&before), None);
        assert!(Ticks::of("intr 1 2 3").is_none());
    }
}
