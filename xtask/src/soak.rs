//! Many mixed runs in one process, the escape battery among them: at the end nothing may be left, and memory may not have grown.

use anyhow::{Context, ensure};
use model::{LimitsPatch, Policy, RunId, RunRequest, RunResult, RunSpec};
use sandbox::host::Host;
use sandbox::run::Setting;
use sandbox::supervise::{Io, Stdin};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;
use worker::battery::{self, Attack, Expect, Verdict};
use worker::image::{BuildOptions, ImageStore};

/// One kind of run: how to call it and what to run.
struct Kind {
    language: &'static str,
    code: &'static str,
    outcome: &'static str,
}

/// Ordinary programs and ways to misbehave; each has one right outcome.
const KINDS: [Kind; 14] = [
    Kind { language: "python", code: "print(1)", outcome: "completed" },
    Kind { language: "bash", code: "echo 1 | cat", outcome: "completed" },
    Kind {
        language: "python",
        code: "import json, os; open('a.txt','w').write('x'*1000); json.dumps([1])",
        outcome: "completed",
    },
    Kind { language: "bash", code: "exit 3", outcome: "failed" },
    Kind { language: "python", code: "1/0", outcome: "failed" },
    Kind { language: "bash", code: "kill -9 $$", outcome: "signalled" },
    Kind {
        language: "python",
        code: "import os\nfor _ in range(20):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass\n",
        outcome: "completed",
    },
    Kind {
        language: "bash",
        code: "(trap '' TERM INT HUP; sleep 99) & disown; echo gone",
        outcome: "completed",
    },
    Kind {
        language: "python",
        code: "x=[]\nwhile True: x.append(bytearray(1<<24))",
        outcome: "memory_exceeded",
    },
    Kind { language: "bash", code: "while :; do :; done", outcome: "timed_out" },
    Kind {
        language: "bash",
        code: "head -c 30000000 /dev/zero | tr '\\0' x; head -c 30000000 /dev/zero >&2",
        outcome: "completed",
    },
    Kind { language: "bash", code: ":(){ :|:& };: ; sleep 9", outcome: "timed_out" },
    Kind {
        language: "python",
        code: "import os\nos.mkfifo('f'); os.symlink('/etc/passwd','l'); open('s','w').truncate(1<<40)",
        outcome: "failed",
    },
    Kind { language: "bash", code: "cat /dev/zero > /workspace/f; exit 1", outcome: "disk_exceeded" },
];

/// How many of the kinds are ordinary.
const ORDINARY: usize = 6;
/// One run in so many is an attack.
const ATTACK_EVERY: usize = 5;

/// Attacks that are not in the mix, and why. Besides these, those that only wait for a deadline of a second or more: three of the
/// kinds wait for one.
const APART: [(&str, &str); 6] = [
    ("CP-107.py", "uses up a second of a processor"),
    (
        "RS-102.py",
        "a gigabyte of output: half a second of both processors each time, and no other end than RS-12's",
    ),
    ("RS-107.py", "half a gigabyte to hash after its end"),
    ("RS-15.py", "measures its processor's share for a second, and is wrong on a busy machine"),
    ("RS-21.sh", "reads the whole image for a second"),
    ("SG-112.py", "takes every processor from whatever else runs here"),
];
/// Of those that wait for their deadline, the ones that make the most of being killed.
const WAITING: [&str; 3] = ["RS-106.py", "SG-06.py", "SG-100.py"];

/// The attacks that are in the mix.
fn attacks() -> anyhow::Result<Vec<Attack>> {
    let mut attacks = battery::attacks();
    for name in APART.iter().map(|(file, _)| file).chain(&WAITING) {
        ensure!(attacks.iter().any(|attack| attack.file == *name), "{name} is no attack any more");
    }
    let waits = |attack: &Attack| attack.expect.contains(&Expect::Outcome(vec![model::Outcome::TimedOut]));
    let apart = |attack: &Attack| APART.iter().any(|(file, _)| *file == attack.file);
    attacks.retain(|attack| !apart(attack) && (!waits(attack) || WAITING.contains(&attack.file)));
    Ok(attacks)
}

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
        let request = RunRequest {
            language: Some(kind.language.parse()?),
            code: kind.code.to_owned(),
            limits: LimitsPatch {
                timeout_ms: Some(if kind.outcome == "timed_out" { 300 } else { 20_000 }),
                memory_bytes: Some(64 << 20),
                disk_bytes: Some(16 << 20),
                ..LimitsPatch::default()
            },
            ..RunRequest::default()
        };
        let result = self.result(request).with_context(|| kind.code.to_owned())?;
        let outcome = result.outcome.map_or("fault", model::Outcome::name);
        ensure!(outcome == kind.outcome, "{:?} was {outcome}: {result:?}", kind.code);
        Ok(kind.outcome)
    }

    fn attack(&self, attack: &Attack) -> anyhow::Result<&'static str> {
        let request = RunRequest {
            language: Some(attack.language),
            code: attack.code.to_owned(),
            limits: attack.limits,
            ..RunRequest::default()
        };
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
            meanwhile: &|| {},
            fail_at: None,
        };
        let io = Io { stdin: Stdin::Bytes(&[]), stdout: None, stderr: None, cancel: None };
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

fn segments() -> anyhow::Result<usize> {
    let count = |kind: &str| -> anyhow::Result<usize> {
        Ok(std::fs::read_to_string(format!("/proc/sysvipc/{kind}"))?.lines().skip(1).count())
    };
    Ok(count("shm")? + count("sem")? + count("msg")?)
}

fn files(directory: &Path) -> usize {
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
