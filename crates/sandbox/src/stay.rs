//! A sandbox that stays, from the outside: jobs are started in it one after the other and beside each other, until it is destroyed.
//!
//! Where the machine has control groups of version 1, each job has one of its own below the sandbox's: what it may use is held there,
//! and all that it started is found there, whatever it did to its process group and session. Elsewhere a job is its process group.

use crate::cgroup::{CgroupLimits, Counters, Ice, Leaf};
use crate::command::Command;
use crate::control::{self, Message};
use crate::errand;
use crate::joining::NotJoined;
use crate::place::{Sandbox, Site, failure};
use crate::plan::{Needs, Plan};
use crate::run::{Setting, plan_of};
use model::{Fault, FaultCode, Isolation, Limits};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::process::Ended;

/// A sandbox that stays. Dropping it destroys it; what goes wrong then is only printed.
#[derive(Debug)]
pub struct Staying {
    plan: Plan,
    /// Of the jobs that have not been let go, by number. Before the sandbox, whose group is above theirs.
    groups: BTreeMap<u32, Leaf>,
    /// In which jobs stand still that have done so before, by number.
    ices: BTreeMap<u32, Ice>,
    /// Where they are made; not looked for yet, or not to be had.
    ice_place: Option<Option<PathBuf>>,
    sandbox: Sandbox,
    /// Jobs whose launch init has not said to be over, oldest first: what it says of a beginning is of the first.
    launched: VecDeque<u32>,
    last: u32,
    /// Jobs that are wanted while no run is on.
    wanted: BTreeSet<u32>,
}

/// What init says of a job.
#[derive(Debug)]
pub enum Heard {
    /// It became its program.
    Began(u32),
    /// It did not; its end follows.
    Failed(u32, Fault),
    /// It ended. What it started may live on: see [`Staying::is_empty`].
    Ended {
        /// Which.
        job: u32,
        /// How.
        how: Ended,
        /// Its processor time and that of what it waited for, in microseconds.
        cpu_us: u64,
    },
    /// A launch is over; it began, or failed, or was killed before it could do either.
    Launched,
    /// A signal that was to be sent to this job was sent.
    Signalled(u32),
    /// The socket that was asked for by this number, not connected; or why there is none.
    Socket(u32, Result<OwnedFd, sys::Error>),
    /// Init is gone, and with it the sandbox.
    Gone,
}

/// How a job begins.
#[derive(Debug)]
pub enum Start<'a> {
    /// By executing this command.
    Execute(&'a Command),
    /// As a fork of the zygote behind this socket, which hears what it is to be on the descriptor that it has at 4.
    Fork(BorrowedFd<'a>),
}

impl Staying {
    /// Makes one and waits until it is built. The caller must have a single thread.
    pub fn make(needs: &Needs, setting: &Setting<'_>) -> Result<Self, Fault> {
        let plan = (setting.amend)(plan_of(needs, setting.host)?);
        let site = Site {
            image: setting.image,
            host: setting.host,
            needs,
            name: &setting.name,
            fail_at: setting.fail_at,
        };
        let mut sandbox = Sandbox::build(&plan, &site, None)?;
        sandbox.await_built(&plan)?;
        let (groups, ices) = (BTreeMap::new(), BTreeMap::new());
        let (launched, wanted) = (VecDeque::new(), BTreeSet::new());
        Ok(Self { plan, groups, ices, ice_place: None, sandbox, launched, last: 0, wanted })
    }

    /// Where its programs find their proxy, for who serves it: once, and of a sandbox that was made for that.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.sandbox.take_listener()
    }

    /// Starts a job with these streams from descriptor 0 on, at most five, and returns its number. Whether it began is heard later.
    pub fn start(
        &mut self,
        start: &Start<'_>,
        streams: &[BorrowedFd<'_>],
        limits: &Limits,
    ) -> Result<u32, Fault> {
        self.last += 1;
        let job = self.last;
        let group = self.group(job, limits)?;
        let tasks =
            group.as_ref().map(Leaf::join_descriptors).transpose().map_err(|error| machine(&error))?;
        // From here on it is removed when the job is let go.
        self.groups.extend(group.map(|group| (job, group)));
        let tasks = tasks.unwrap_or_default();
        match (start, streams) {
            (Start::Execute(command), _) => {
                let errand = errand::write(command, &[]).map_err(|error| machine(&error))?;
                self.sandbox.launch(job, errand.as_fd(), streams, &tasks)?;
                self.launched.push_back(job);
            }
            (Start::Fork(zygote), [stdin, stdout, stderr, result, waits]) => {
                let streams = [*stdin, *stdout, *stderr, *result];
                let forked = self.sandbox.fork_as(job, *zygote, &self.plan, streams, (*waits, &tasks));
                if let Err(NotJoined::NoFork(fault) | NotJoined::Failed(fault)) = forked {
                    // What went wrong first is what is told.
                    if let Err(other) = self.let_go(job) {
                        eprintln!("fireclay: {other}");
                    }
                    return Err(fault);
                }
            }
            _ => return Err(Fault::new(FaultCode::Internal, "a fork has five streams")),
        }
        Ok(job)
    }

    fn group(&self, job: u32, limits: &Limits) -> Result<Option<Leaf>, Fault> {
        let Some(leaf) = self.sandbox.cgroup().filter(|leaf| leaf.version() == 1) else { return Ok(None) };
        let limits = CgroupLimits {
            memory_bytes: limits.memory_bytes.saturating_add(limits.disk_bytes),
            processes: limits.processes,
            cpus: limits.cpus,
        };
        leaf.below(&format!("job{job}"), &limits).map(Some).map_err(|error| machine(&error))
    }

    /// Readable when init says something, or is gone.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.sandbox.control()
    }

    /// Hears one thing that init says; waits for it.
    pub fn hear(&mut self) -> Result<Heard, Fault> {
        let heard = control::receive(self.sandbox.control())
            .map_err(|error| Fault::new(FaultCode::Interrupted, format!("receive from init: {error}")))?;
        let Some((message, mut descriptors)) = heard else { return Ok(Heard::Gone) };
        match message {
            Message::JobEnded { job, status, cpu_us } => {
                Ok(Heard::Ended { job, how: Ended::from_status(status), cpu_us })
            }
            Message::Launched { job } => {
                self.launched.retain(|one| *one != job);
                Ok(Heard::Launched)
            }
            Message::Signalled { job } => Ok(Heard::Signalled(job)),
            Message::SocketMade { number, errno } => {
                let refused = sys::Error { call: "socket in the sandbox", errno };
                Ok(Heard::Socket(number, descriptors.pop().ok_or(refused)))
            }
            message => match (message, self.launched.front().copied()) {
                (Message::Started, Some(job)) => Ok(Heard::Began(job)),
                (message, Some(job)) => Ok(Heard::Failed(job, failure(&self.plan, message))),
                (message, None) => Err(failure(&self.plan, message)),
            },
        }
    }

    /// Has a signal sent to a job's process group. Nothing happens to one that is gone. Each is answered by [`Heard::Signalled`].
    pub fn signal(&self, job: u32, signal: i32) -> Result<(), Fault> {
        self.sandbox.signal(job, signal)
    }

    /// Has init make a TCP socket in the sandbox's network, which [`Heard::Socket`] answers. Whoever connects it reaches what listens
    /// there and nothing else: a socket stays where it was made.
    pub fn ask_for_socket(&self, number: u32, version_6: bool) -> Result<(), Fault> {
        let order = Message::Socket { number, version_6 };
        control::send(self.sandbox.control(), order, &[]).map_err(|error| machine(&error))
    }

    /// Kills all that is in a job's group now. What was being made in that moment is not: again, until [`Staying::is_empty`].
    pub fn kill(&mut self, job: u32) -> Result<(), Fault> {
        let Some(group) = self.groups.get_mut(&job) else { return self.signal(job, libc::SIGKILL) };
        // Processes that are killed need time to die.
        group.lift_processor_limit().map_err(|error| machine(&error))?;
        let found: Vec<(i32, OwnedFd)> = members(group)?
            .into_iter()
            .filter_map(|pid| sys::process::open_process(pid).ok().map(|process| (pid, process)))
            .collect();
        // A number could have become another's before it was opened. Who is in the group still is the one that was opened, or dead.
        let still = members(group)?;
        for (_, process) in found.iter().filter(|(pid, _)| still.contains(pid)) {
            match sys::process::kill(process.as_fd(), libc::SIGKILL) {
                Err(error) if error.errno != libc::ESRCH => return Err(machine(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether nothing of a job is left; true where the machine cannot tell.
    pub fn is_empty(&self, job: u32) -> bool {
        self.groups.get(&job).is_none_or(|group| group.processes().unwrap_or(0) == 0)
    }

    /// Whether as many processes are in the sandbox as may be, if that is so many; false where the machine cannot tell.
    pub fn is_crowded(&self, most: u64) -> bool {
        self.sandbox.cgroup().is_some_and(|leaf| leaf.processes().is_ok_and(|count| count >= most))
    }

    /// Forgets a job that has ended and of which nothing is left.
    pub fn let_go(&mut self, job: u32) -> Result<(), Fault> {
        self.wanted.remove(&job);
        self.groups.remove(&job).map_or(Ok(()), Leaf::remove).map_err(|error| machine(&error))?;
        self.ices.remove(&job).map_or(Ok(()), Ice::remove).map_err(|error| machine(&error))
    }

    /// What a job's group counted; nothing where there is none.
    pub fn counters(&self, job: u32) -> Counters {
        self.groups.get(&job).and_then(|group| group.counters().ok()).unwrap_or_default()
    }

    /// Forgets the most memory that a job had, for the next run of it. Without a group there is nothing to forget.
    pub fn forget_peak(&self, job: u32) -> Result<(), Fault> {
        self.groups.get(&job).map_or(Ok(()), Leaf::forget_peak).map_err(|error| machine(&error))
    }

    /// How much memory a job has now, files apart where that makes it less than `limit`; 0 where the machine cannot tell.
    pub fn memory_bytes(&self, job: u32, limit: u64) -> u64 {
        self.groups.get(&job).map_or(0, |group| group.memory_apart(limit).unwrap_or(0))
    }

    /// A job was asked for by itself: it keeps what it was given while others are calmed.
    pub fn do_not_calm(&mut self, job: u32) {
        self.wanted.insert(job);
    }

    /// Gives all that runs, but jobs that are wanted, little processor time, until [`Staying::wake`]: nobody waits for it.
    pub fn calm(&mut self) -> Result<(), Fault> {
        self.share(|leaf| leaf.ration(true))
    }

    /// Has a job stand still, until [`Staying::wake`]. Says whether it does: not where the machine has no groups for that, or gives jobs
    /// none of their own (version 2 alone), nor when it makes processes faster than they are found.
    pub fn still(&mut self, job: u32) -> io::Result<bool> {
        let Some(group) = self.groups.get(&job) else { return Ok(false) };
        let place = self.ice_place.get_or_insert_with(Ice::place);
        let Some(place) = place else { return Ok(false) };
        let ice = match self.ices.entry(job) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Ice::make(place)?),
        };
        let stands = ice.freeze(|| group.members());
        if stands.is_err() {
            // Tried once: what fails here fails every time.
            self.ice_place = Some(None);
        }
        stands
    }

    /// Gives all that runs what it was made with again.
    pub fn wake(&mut self) -> Result<(), Fault> {
        self.ices.values_mut().try_for_each(Ice::thaw).map_err(|error| machine(&error))?;
        self.share(|leaf| leaf.ration(false))
    }

    fn share(&self, ration: impl Fn(&Leaf) -> std::io::Result<()>) -> Result<(), Fault> {
        // In version 1 a group may not have less than those below it were promised.
        let whole = self.sandbox.cgroup().filter(|leaf| leaf.version() != 1 && self.wanted.is_empty());
        let calmed = self.groups.iter().filter(|(job, _)| !self.wanted.contains(job)).map(|(_, group)| group);
        calmed.chain(whole).try_for_each(ration).map_err(|error| machine(&error))
    }

    /// Lifts the sandbox's processor limit, or sets it again.
    pub fn hurry(&mut self, lifted: bool) -> Result<(), Fault> {
        let set = |leaf: &Leaf| leaf.hurry(lifted);
        self.sandbox.cgroup().map_or(Ok(()), set).map_err(|error| machine(&error))
    }

    /// Processor time of the processes of a job that live, and of what they waited for, in microseconds; 0 where the machine cannot
    /// tell.
    pub fn cpu_us(&self, job: u32) -> u64 {
        let pids = self.groups.get(&job).and_then(|group| group.members().ok()).unwrap_or_default();
        pids.into_iter().filter_map(crate::census::cpu_us).sum()
    }

    /// The root of the scratch file system, which holds `workspace`, `home`, `tmp` and `shm`.
    pub fn scratch(&self) -> BorrowedFd<'_> {
        self.sandbox.scratch()
    }

    /// The user and group that own the code's files, as the host numbers them.
    pub fn ids(&self) -> (u32, u32) {
        self.sandbox.ids()
    }

    /// What stands around every job.
    pub fn isolation(&self) -> Isolation {
        let missing = self.plan.missing.iter().copied().collect();
        Isolation { level: "default".into(), layers: self.plan.layers(), missing }
    }

    /// Kills all that is in it and removes what it was made of.
    pub fn destroy(mut self) -> Result<(), Fault> {
        self.end()
    }

    /// Kills, then removes the jobs' groups; the sandbox's own goes with it.
    fn end(&mut self) -> Result<(), Fault> {
        // Also of one that stands still: it does not stand in the way of its death.
        self.sandbox.kill()?;
        while let Some((_, group)) = self.groups.pop_first() {
            group.remove().map_err(|error| machine(&error))?;
        }
        while let Some((_, ice)) = self.ices.pop_first() {
            ice.remove().map_err(|error| machine(&error))?;
        }
        Ok(())
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        if let Err(fault) = self.end() {
            eprintln!("fireclay: {fault}");
        }
    }
}

fn members(group: &Leaf) -> Result<Vec<i32>, Fault> {
    group.members().map_err(|error| machine(&error))
}

fn machine(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, error.to_string())
}
