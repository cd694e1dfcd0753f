//! What soak and load are made of: ordinary programs, ways to misbehave, and the attacks of the battery that end soon.

use anyhow::ensure;
use model::{LimitsPatch, RunRequest};
use worker::battery::{self, Attack, Expect};

/// One kind of run: how to call it and what to run.
pub struct Kind {
    /// Of the program.
    pub language: &'static str,
    /// The program.
    pub code: &'static str,
    /// The one right outcome.
    pub outcome: &'static str,
}

/// Ordinary programs and ways to misbehave; each has one right outcome.
pub const KINDS: [Kind; 14] = [
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
pub const ORDINARY: usize = 6;
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
pub fn attacks() -> anyhow::Result<Vec<Attack>> {
    let mut attacks = battery::attacks();
    for name in APART.iter().map(|(file, _)| file).chain(&WAITING) {
        ensure!(attacks.iter().any(|attack| attack.file == *name), "{name} is no attack any more");
    }
    let waits = |attack: &Attack| attack.expect.contains(&Expect::Outcome(vec![model::Outcome::TimedOut]));
    let apart = |attack: &Attack| APART.iter().any(|(file, _)| *file == attack.file);
    attacks.retain(|attack| !apart(attack) && (!waits(attack) || WAITING.contains(&attack.file)));
    Ok(attacks)
}

impl Kind {
    /// The run, with small limits.
    pub fn request(&self) -> anyhow::Result<RunRequest> {
        Ok(RunRequest {
            language: Some(self.language.parse()?),
            code: self.code.to_owned(),
            limits: LimitsPatch {
                timeout_ms: Some(if self.outcome == "timed_out" { 300 } else { 20_000 }),
                memory_bytes: Some(64 << 20),
                disk_bytes: Some(16 << 20),
                ..LimitsPatch::default()
            },
            ..RunRequest::default()
        })
    }
}

/// The run of an attack.
pub fn request_of(attack: &Attack) -> RunRequest {
    RunRequest {
        language: Some(attack.language),
        code: attack.code.to_owned(),
        limits: attack.limits,
        ..RunRequest::default()
    }
}
