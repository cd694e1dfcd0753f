//! Groups of jobs, below that of their sandbox: only in version 1, where a group with processes may have children with limits.

use super::{CPU_PERIOD_US, CgroupLimits, Leaf, cpu_quota_us, keyed, write};
use std::{fs, io};

/// Processor time in each period of what runs on where nobody waits for it: a twentieth of one processor.
const CALM_QUOTA_US: u64 = 5_000;

impl Leaf {
    /// Makes a group below this one, for a part of what is in it. Version 1 only: in version 2 a group with processes has no children
    /// with limits. It must be removed before this one.
    pub fn below(&self, name: &str, limits: &CgroupLimits) -> io::Result<Self> {
        if self.version != 1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // A group may not be promised more processor time than the one above it has.
        let limits = CgroupLimits { cpus: limits.cpus.min(self.limits.cpus), ..*limits };
        Self::make(self.directories.iter().map(|own| own.join(name)).collect(), self.version, &limits)
    }

    /// The processes in it now, as the caller numbers them.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        let path = self.directories.last().ok_or(io::ErrorKind::NotFound)?.join("cgroup.procs");
        Ok(fs::read_to_string(path)?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Forgets the most memory that was in use (version 1).
    pub fn forget_peak(&self) -> io::Result<()> {
        write(&self.memory("memory.max_usage_in_bytes"), 0)
    }

    /// Memory in use now, files apart, cached or on tmpfs, if it is more than `limit` with them (version 1).
    pub fn memory_apart(&self, limit: u64) -> io::Result<u64> {
        // The finer figures are read only when the plain one is over.
        let charged = self.memory_bytes()?;
        if charged <= limit {
            return Ok(charged);
        }
        let text = fs::read_to_string(self.memory("memory.stat"))?;
        Ok(charged.saturating_sub(keyed(&text, "total_cache")))
    }

    /// Holds it to [`CALM_QUOTA_US`] of processor time in each period, or to what it was made with. One whose limit was lifted is dying and
    /// left alone.
    pub fn ration(&self, little: bool) -> io::Result<()> {
        if self.limits.cpus.is_infinite() {
            return Ok(());
        }
        let whole = cpu_quota_us(self.limits.cpus);
        self.set_quota(Some(if little { CALM_QUOTA_US.min(whole) } else { whole }))
    }

    /// Takes its processor limit away for a while, or sets it again.
    pub fn hurry(&self, lifted: bool) -> io::Result<()> {
        self.set_quota((!lifted).then(|| cpu_quota_us(self.limits.cpus)))
    }

    fn set_quota(&self, quota_us: Option<u64>) -> io::Result<()> {
        let text = |none: &str| quota_us.map_or(none.to_owned(), |us| us.to_string());
        match self.directories.as_slice() {
            [_, _, cpu] => fs::write(cpu.join("cpu.cfs_quota_us"), text("-1")),
            [leaf] => fs::write(leaf.join("cpu.max"), format!("{} {CPU_PERIOD_US}", text("max"))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
