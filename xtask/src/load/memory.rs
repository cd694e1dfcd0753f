//! What memory the processes of a service have while it works, looked at again and again; and who its keepers were.

use bench::processes::Role;
use bench::service::Service;
use bench::times::median;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Memory is looked at once in so many looks: that takes time which the service lacks.
const LOOKS_EACH: usize = 4;
/// The first and the last of the time that are compared: a minute each, or a sixth of the whole if that is less.
const END: Duration = Duration::from_secs(60);
/// Roles whose memory is told, and whether for each process or for all together.
const TOLD: [(Role, &str); 4] = [
    (Role::Service, "service"),
    (Role::Spawner, "spawner"),
    (Role::Zygote, "a zygote"),
    (Role::Keeper, "a keeper"),
];

/// Mean bytes for each process of a role, at one time.
struct Look {
    at: Instant,
    shares: BTreeMap<Role, f64>,
}

/// All looks.
#[derive(Default)]
pub struct Memory {
    count: usize,
    looks: Vec<Look>,
    /// Every process that was seen to keep sandboxes: control groups have their numbers in their names.
    pub keepers: BTreeSet<u32>,
}

impl Memory {
    /// Looks once.
    pub fn look(&mut self, service: &Service) {
        let processes = service.processes();
        let keepers = processes.iter().filter(|process| process.role() == Role::Keeper);
        self.keepers.extend(keepers.map(|process| process.pid));
        self.count += 1;
        if self.count % LOOKS_EACH != 1 {
            return;
        }
        let mean = |role: Role| {
            let of_role = processes.iter().filter(|process| process.role() == role);
            // One that ended meanwhile has none.
            let shares: Vec<u64> =
                of_role.map(|process| process.pss_bytes()).filter(|bytes| *bytes > 0).collect();
            (!shares.is_empty()).then(|| shares.iter().sum::<u64>() as f64 / shares.len() as f64)
        };
        let shares = TOLD.iter().filter_map(|(role, _)| Some((*role, mean(*role)?))).collect();
        self.looks.push(Look { at: Instant::now(), shares });
    }

    /// Prints the first and the last minute beside each other.
    pub fn print(&self) {
        let (Some(first), Some(last)) = (self.looks.first(), self.looks.last()) else { return };
        let end = END.min((last.at - first.at) / 6);
        for (role, name) in TOLD {
            let of = |is_meant: &dyn Fn(&Look) -> bool| {
                let looks = self.looks.iter().filter(|look| is_meant(look));
                let mebibytes: Vec<f64> =
                    looks.filter_map(|look| Some(look.shares.get(&role)? / f64::from(1 << 20))).collect();
                median(&mebibytes).unwrap_or(f64::NAN)
            };
            let (before, after) =
                (of(&|look| look.at <= first.at + end), of(&|look| look.at + end >= last.at));
            println!(
                "memory: {name:<9} {before:>7.2} MiB in the first {:.0} s, {after:>7.2} in the last: {:+.2}",
                end.as_secs_f64(),
                after - before
            );
        }
    }
}
