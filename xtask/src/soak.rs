//! Many mixed runs in one process, the escape battery among them: at the end nothing may be left, and memory may not have grown.

use crate::mix::{KINDS, Kind, ORDINARY, attacks, request_of};
use anyhow::{Context, ensure};
use model::{Policy, RunId, RunRequest, RunResult, RunSpec};
use sandbox::host::Host;
use sandbox::run::Setting;
use sandbox::supervise::{Io, Stdin};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;
use worker::battery::{self, Attack, Verdict};
use worker::image::{BuildOptions, ImageStore};

/// One run in so many is an attack.
const ATTACK_EVERY: usize = 5;

/// Makes `runs` runs and compares the world before and after.
pub fn soak(runs: usize, data: &Path) -> anyhow::Result<()> {
    let host = Host::detect();
    let image =
        ImageStore::open(data).ensure(&BuildOptions::new("/usr/local/bin:/usr/bin:/bin"), &mut |_| {})?;
    let image = worker::run::root_of(&image);
    let bench = Bench { host: &host, image: &image, attacks: attacks()? };
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    // The first runs fill what is kept for the next, and what the allocator keeps settles in the second round: the world is counted
    // after both.
    for _ in 0..2 {
        KINDS.iter().try_for_each(|kind| bench.kind(kind).map(drop))?;
        bench.attacks.iter().try_for_each(|attack| bench.attack(attack).map(drop))?;
    }
    let before = World::now()?;
    let started = Instant::now();
    for index in 0..runs {
        *outcomes.entry(bench.run(index).with_context(|| format!("run {index}"))?).or_default() += 1;
        if (index + 1) % 500 == 0 {
            eprintln!("soak: {} runs, {:.0} s", index + 1, started.elapsed().as_secs_f64());
        }
    }
    let after = World::now()?;
    println!(
        "soak: {runs} runs, {} attacks in turn, in {:.1} s: {outcomes:?}",
        bench.attacks.len(),
        started.elapsed().as_secs_f64()
    );
    println!("before: {before:?}\nafter:  {after:?}");
    ensure!(before.same_as(&after), "something is left");
    println!(
        "soak: 0 processes, mounts, control groups, descriptors, segments, files left; resident memory flat"
    );
    Ok(())
}

/// What runs are made with.
struct Bench<'a> {
    host: &'a Host,
    image: &'a sandbox::Image,
    attacks: Vec<Attack>,
}

impl Bench<'_> {
    /// Runs what is due at this index; answers what became of it, or fails if that is not what had to.
    fn run(&self, index: usize) -> anyhow::Result<&'static str> {
        let (round, place) = (index / ATTACK_EVERY, index % ATTACK_EVERY);
        if place == ATTACK_EVERY - 1 {
            return self.attack(&self.attacks[round % self.attacks.len()]);
        }
        // Ordinary programs are most of them, as in life: each heavy kind once in a hundred.
        let index = index - round;
        self.kind(&KINDS[if index % 100 < KINDS.len() { index % 100 } else { index % ORDINARY }])
    }

    fn kind(&self, kind: &Kind) -> anyhow::Result<&'static str> {
        let request = kind.request()?;
        let result = self.result(request).with_context(|| kind.code.to_owned())?;
        let outcome = result.outcome.map_or("fault", model::Outcome::name);
        ensure!(outcome == kind.outcome, "{:?} was {outcome}: {result:?}", kind.code);
        Ok(kind.outcome)
    }

    fn attack(&self, attack: &Attack) -> anyhow::Result<&'static str> {
        let request = request_of(attack);
        let result = self.result(request).context(attack.file)?;
        let verdict = battery::verdict(attack, &result);
        ensure!(verdict == Verdict::Held, "{}: {verdict:?}", attack.file);
        Ok("attack held off")
    }

    fn result(&self, request: RunRequest) -> anyhow::Result<RunResult> {
        let spec = RunSpec::admit(request, &Policy::DEFAULT)?;
        let setting = Setting {
            host: self.host,
            image: self.image,
            allow_missing: [].into(),
            name: sandbox::cgroup::leaf_name(),
            amend: &std::convert::identity,
            serve: &drop,
            meanwhile: &|| {},
            fail_at: None,
        };
        let io = Io { stdin: Stdin::Bytes(&[]), stdout: None, stderr: None, cancel: None, gives_way: None };
        let settled = sandbox::run::run(&spec, &setting, io)?;
        let id = RunId::from_random(sys::fs::random()?);
        Ok(worker::run::result_of(id, worker::run::now(), &spec, self.image, &settled))
    }
}

/// What a leak would show in.
#[derive(Debug)]
struct World {
    descriptors: usize,
    children: usize,
    mounts: usize,
    groups: usize,
    /// System V memory, semaphores and queues of the host.
    segments: usize,
    /// Files of sandboxes' users where anyone may write.
    files: usize,
    resident_kib: u64,
}

/// First user id that sandboxes made by root have (`Outside` in the engine).
const SANDBOX_UID_BASE: u32 = 1_900_000_000;

impl World {
    fn now() -> anyhow::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let own = std::process::id();
        let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children"))?;
        Ok(Self {
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
            children: children.split_whitespace().count(),
            mounts: std::fs::read_to_string("/proc/self/mountinfo")?.lines().count(),
            groups: groups(Path::new("/sys/fs/cgroup"), 0, &format!("fireclay-{own}-")),
            segments: segments()?,
            files: ["/tmp", "/var/tmp", "/dev/shm"].iter().map(|place| files(Path::new(place))).sum(),
            resident_kib: resident.trim().trim_end_matches("kB").trim().parse()?,
        })
    }

    /// Memory may differ by what the allocator keeps at hand: two mebibytes.
    fn same_as(&self, after: &Self) -> bool {
        self.descriptors == after.descriptors
            && self.children == after.children
            && self.mounts == after.mounts
            && self.groups == after.groups
            && self.segments == after.segments
            && self.files == after.files
            && after.resident_kib <= self.resident_kib + 2048
    }
}

pub fn segments() -> anyhow::Result<usize> {
    let count = |kind: &str| -> anyhow::Result<usize> {
        Ok(std::fs::read_to_string(format!("/proc/sysvipc/{kind}"))?.lines().skip(1).count())
    };
    Ok(count("shm")? + count("sem")? + count("msg")?)
}

pub fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() >= SANDBOX_UID_BASE)).count()
}

/// Counts our control groups, up to four levels down.
fn groups(directory: &Path, depth: usize, prefix: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories
        .map(|entry| {
            let own = usize::from(entry.file_name().to_string_lossy().starts_with(prefix));
            own + if depth < 4 { groups(&entry.path(), depth + 1, prefix) } else { 0 }
        })
        .sum()
}
