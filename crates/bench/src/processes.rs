//! A process and all that came from it, as the kernel shows them: who they are and what memory they have.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// One process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Whose child it is.
    pub parent: u32,
    /// How far below the first it is: that one has 0.
    pub depth: usize,
    /// Whether it is the same program as the first.
    pub is_same_program: bool,
    /// User and system time so far, in clock ticks.
    pub ticks: u64,
    /// When it started, in clock ticks since the machine did: its number may be another's later.
    pub start: u64,
}

/// What a process of a service does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Answers requests.
    Service,
    /// Clones keepers and zygotes.
    Spawner,
    /// Is forked into sandboxes.
    Zygote,
    /// Has one sandbox after the other.
    Keeper,
    /// The first process in a sandbox.
    Init,
    /// What runs in one.
    Job,
}

impl Process {
    /// What it does, in the tree of a service.
    pub fn role(&self) -> Role {
        match (self.depth, self.is_same_program) {
            (0, _) => Role::Service,
            (1, _) => Role::Spawner,
            (2, true) => Role::Keeper,
            (2, false) => Role::Zygote,
            (3, true) => Role::Init,
            _ => Role::Job,
        }
    }

    /// Whether it still lives.
    pub fn lives(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start == self.start)
    }

    /// Its share of memory, as `smaps_rollup` has it: what several map is divided among them. 0 for one that is gone or may not be
    /// looked at.
    pub fn pss_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
    }
}

/// What `/proc/PID/stat` says (proc(5)).
struct Stat {
    parent: u32,
    ticks: u64,
    start: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let is_dead = matches!(fields.first(), Some(&"Z" | &"X"));
        let (parent, ticks, start) = (field(4)? as u32, field(14)? + field(15)?, field(22)?);
        (!is_dead).then_some(Self { parent, ticks, start })
    }
}

fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The living processes of a tree, the first one first. Empty if that is gone.
pub fn tree(first: u32) -> Vec<Process> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stats: BTreeMap<u32, Stat> = pids.filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
    let own = program(first);
    let process = |pid: u32, depth: usize| {
        let Stat { parent, ticks, start } = *stats.get(&pid)?;
        let is_same_program = own.is_some() && program(pid) == own;
        Some(Process { pid, parent, depth, is_same_program, ticks, start })
    };
    let mut found: Vec<Process> = process(first, 0).into_iter().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let (pid, depth) = (parent.pid, parent.depth + 1);
        found.extend(
            stats
                .iter()
                .filter(|(_, stat)| stat.parent == pid)
                .filter_map(|(child, _)| process(*child, depth)),
        );
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_has_all_that_live() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo on; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        let found = tree(child.id());
        assert_eq!(found.iter().map(|process| process.depth).collect::<Vec<_>>(), [0, 1]);
        assert!(found.iter().all(|process| process.pss_bytes() > 0), "{found:?}");
        for process in &found {
            let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        assert_eq!(tree(child.id()), []);
    }
}
