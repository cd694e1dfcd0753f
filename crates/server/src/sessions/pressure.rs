//! When the machine is short of memory, sessions in which nothing runs make room: the one that has been idle for longest first.

use super::OpenSession;
use crate::service::Service;
use std::sync::Arc;
use std::time::Duration;
use worker::session::Why;

/// How often the machine is looked at while sessions are open.
const LOOK: Duration = Duration::from_secs(1);
/// Somebody is at work in a session that was used so lately.
const LATELY: Duration = Duration::from_secs(5);

impl OpenSession {
    /// For how long nothing has run in it; `None` while something does.
    fn idle_for(&self) -> Option<Duration> {
        let clock = self.clock();
        (clock.busy == 0).then(|| clock.idle_since.elapsed())
    }
}

impl Service {
    /// Ends one session after the other for as long as the machine is short of memory and one is idle.
    pub async fn relieve_memory(&self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let Some((open, idle)) = self.sessions.longest_idle() else { continue };
            let wanted = self.settings.session.memory_free;
            let Some(available) = available_bytes().filter(|available| *available < wanted) else { continue };
            let detail = format!(
                "the machine had {} MiB of memory left, and nothing had run in it for {} s",
                available >> 20,
                idle.as_secs()
            );
            open.session.end(Why::MemoryPressure, detail);
            // Its memory is free when its files are saved and gone.
            drop(open.buried.subscribe().wait_for(|buried| *buried).await);
        }
    }
}

impl super::Sessions {
    /// How many are open.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// The session in which nothing has run for longest, and for how long; none that was used lately.
    fn longest_idle(&self) -> Option<(Arc<OpenSession>, Duration)> {
        let open = self.open();
        let idle = open.values().filter_map(|one| Some((one, one.idle_for()?)));
        let (longest, idle) = idle.filter(|(_, idle)| *idle >= LATELY).max_by_key(|(_, idle)| *idle)?;
        Some((longest.clone(), idle))
    }
}

/// Memory that may be had without swapping (proc_meminfo(5)); `None` if the kernel does not say.
fn available_bytes() -> Option<u64> {
    let text = sys::fs::read_kernel_file(c"/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}
