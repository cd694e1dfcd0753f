//! Groups of jobs, below that of their sandbox: only in version 1, where a group with processes may have children with limits.

use super::{CgroupLimits, Leaf, keyed, write};
use std::{fs, io};

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

    /// Whether more memory than this is in use, files apart, cached or on tmpfs (version 1).
    pub fn exceeds(&self, bytes: u64) -> io::Result<bool> {
        // The finer figures are read only when the plain one is over.
        let charged = self.memory_bytes()?;
        if charged <= bytes {
            return Ok(false);
        }
        let text = fs::read_to_string(self.memory("memory.stat"))?;
        Ok(charged.saturating_sub(keyed(&text, "total_cache")) > bytes)
    }
}
