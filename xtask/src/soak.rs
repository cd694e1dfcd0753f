//! Many mixed runs in one process, attacks among them: at the end nothing may be left, and memory may not have grown.

use anyhow::{Context, ensure};
use model::{LimitsPatch, Policy, RunId, RunRequest, RunSpec};
use sandbox::host::Host;
use sandbox::run::Setting;
use sandbox::supervise::{Io, Stdin};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
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

/// Makes `runs` runs and compares the world before and after.
pub fn soak(runs: usize, data: &Path) -> anyhow::Result<()> {
    let host = Host::detect();
    let image =
        ImageStore::open(data).ensure(&BuildOptions::new("/usr/local/bin:/usr/bin:/bin"), &mut |_| {})?;
    let image = worker::run::root_of(&image);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    // The first runs fill what is kept for the next: the world is counted after them.
    for index in 0..200 {
        one(index, &host, &image)?;
    }
    let before = World::now()?;
    let started = Instant::now();
    for index in 0..runs {
        *outcomes.entry(one(index, &host, &image)?).or_default() += 1;
        if (index + 1) % 500 == 0 {
            eprintln!("soak: {} runs, {:.0} s", index + 1, started.elapsed().as_secs_f64());
        }
    }
    let after = World::now()?;
    println!("soak: {runs} runs in {:.1} s: {outcomes:?}", started.elapsed().as_secs_f64());
    println!("before: {before:?}\nafter:  {after:?}");
    ensure!(before.same_as(&after), "something is left");
    println!("soak: 0 processes, mounts, control groups, descriptors left; resident memory flat");
    Ok(())
}

/// Runs the kind for this index; returns its outcome, or fails if that is not the right one.
fn one(index: usize, host: &Host, image: &sandbox::Image) -> anyhow::Result<&'static str> {
    // Cheap runs are most of them, as in life: each heavy kind once in a hundred.
    let kind = &KINDS[if index < KINDS.len() || index % 100 < KINDS.len() {
        index % 100 % KINDS.len()
    } else {
        index % 6
    }];
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
    let spec = RunSpec::admit(request, &Policy::DEFAULT)?;
    let name = sandbox::cgroup::leaf_name();
    let setting = Setting {
        host,
        image,
        allow_missing: [].into(),
        name,
        amend: &std::convert::identity,
        meanwhile: &|| {},
        fail_at: None,
    };
    let io = Io { stdin: Stdin::Bytes(&[]), stdout: None, stderr: None, cancel: None };
    let settled =
        sandbox::run::run(&spec, &setting, io).with_context(|| format!("run {index}: {}", kind.code))?;
    let id = RunId::from_random(sys::fs::random()?);
    let result = worker::run::result_of(id, worker::run::now(), &spec, image, &settled);
    let outcome = settled.judgement.outcome.name();
    ensure!(outcome == kind.outcome, "run {index} of {:?} was {outcome}: {result:?}", kind.code);
    Ok(kind.outcome)
}

/// What a leak would show in.
#[derive(Debug)]
struct World {
    descriptors: usize,
    children: usize,
    mounts: usize,
    groups: usize,
    resident_kib: u64,
}

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
            resident_kib: resident.trim().trim_end_matches("kB").trim().parse()?,
        })
    }

    /// Memory may differ by what the allocator keeps at hand: two mebibytes.
    fn same_as(&self, after: &Self) -> bool {
        self.descriptors == after.descriptors
            && self.children == after.children
            && self.mounts == after.mounts
            && self.groups == after.groups
            && after.resident_kib <= self.resident_kib + 2048
    }
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
