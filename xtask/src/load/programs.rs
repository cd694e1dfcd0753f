//! What the clients send: ordinary programs that say a number, attacks, and programs that only keep a processor busy.

use super::clients::send;
use crate::mix::{self, KINDS, ORDINARY};
use anyhow::{Context, ensure};
use bench::client::Client;
use bench::service::Service;
use model::{Language, Outcome, RunRequest, RunResult};
use worker::battery::{self, Attack, Verdict};

/// What one in twenty runs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// As all the others.
    Alone,
    /// A program that takes as much processor time as an attack, and as long.
    Busy,
    /// An attack.
    Attacks,
}

impl Company {
    /// All, in the order of their turns.
    pub const ALL: [Company; 3] = [Self::Alone, Self::Busy, Self::Attacks];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "honest runs only",
            Self::Busy => "5 % as busy, and honest",
            Self::Attacks => "5 % attacks",
        }
    }
}

/// One hostile run.
enum Hostile {
    /// Of the battery, judged as `fireclay selftest` does.
    Attack(Box<Attack>),
    /// Of the soak, with its one right outcome.
    Kind(&'static mix::Kind),
}

impl Hostile {
    fn name(&self) -> &'static str {
        match self {
            Self::Attack(attack) => attack.file,
            Self::Kind(kind) => kind.code,
        }
    }

    fn request(&self) -> anyhow::Result<RunRequest> {
        match self {
            Self::Attack(attack) => Ok(mix::request_of(attack)),
            Self::Kind(kind) => kind.request(),
        }
    }
}

/// How a hostile run ended.
pub enum Ended {
    /// As it must.
    Held,
    /// It did what it must not: this.
    Breached(String),
    /// Neither: this. On a machine with twice its work some run out of time.
    Otherwise(String),
}

/// All programs.
pub struct Programs {
    hostile: Vec<Hostile>,
    /// What hostile runs took on a service with nothing else to do, on average.
    cpu_ms: u64,
    wall_ms: u64,
    /// How many runs it took to know that.
    pub rehearsals: u64,
}

/// One run to be sent.
pub struct Program {
    /// What is said with it and must come back with its result.
    pub nonce: u64,
    /// The request.
    pub request: RunRequest,
    /// The number of the hostile program, if it is one.
    pub hostile: Option<usize>,
}

impl Program {
    fn new(nonce: u64, request: RunRequest, hostile: Option<usize>) -> Self {
        let metadata = [("nonce".to_owned(), nonce.to_string())].into();
        Self { nonce, request: RunRequest { metadata, ..request }, hostile }
    }
}

fn request(language: Language, code: String) -> RunRequest {
    RunRequest { language: Some(language), code, ..RunRequest::default() }
}

impl Programs {
    /// All of them, after each hostile one was run once: that fills what is kept for the next runs, and tells what they take.
    pub fn rehearsed(service: &Service) -> anyhow::Result<Self> {
        let battery = mix::attacks()?.into_iter().map(|attack| Hostile::Attack(Box::new(attack)));
        let hostile: Vec<Hostile> = battery.chain(KINDS[ORDINARY..].iter().map(Hostile::Kind)).collect();
        let mut programs = Self { hostile, cpu_ms: 0, wall_ms: 0, rehearsals: 0 };
        let mut client = service.connect()?;
        let (mut cpu_ms, mut wall_ms) = (0, 0);
        for index in 0..programs.hostile.len() {
            let result = programs.rehearse(index, &mut client)?;
            cpu_ms += result.usage.cpu_ms;
            wall_ms += result.usage.wall_ms;
        }
        programs.rehearsals = programs.hostile.len() as u64;
        programs.cpu_ms = cpu_ms / programs.rehearsals.max(1);
        programs.wall_ms = wall_ms / programs.rehearsals.max(1);
        Ok(programs)
    }

    fn rehearse(&self, index: usize, client: &mut Client) -> anyhow::Result<RunResult> {
        let name = self.hostile[index].name();
        let program = self.hostile_run(0, index)?;
        let answer = send(client, &program).with_context(|| name)?;
        ensure!(answer.status == 200, "{name}: {}", answer.text());
        Ok(serde_json::from_slice(answer.body)?)
    }

    /// In one line.
    pub fn about(&self) -> String {
        let Self { hostile, cpu_ms, wall_ms, .. } = self;
        format!("{} attacks in turn, on average {wall_ms} ms and {cpu_ms} ms of a processor", hostile.len())
    }

    /// An ordinary run that prints its number: three of four in Python, one in bash.
    pub fn ordinary(&self, nonce: u64) -> Program {
        let request = match nonce % 4 {
            0 => request(Language::Bash, format!("echo {nonce}")),
            1 => request(Language::Python, format!("import json\nprint(json.dumps({nonce}))")),
            _ => request(Language::Python, format!("print({nonce})")),
        };
        Program::new(nonce, request, None)
    }

    /// Prints its number after as much work as an attack does on average, in the same time.
    pub fn busy(&self, nonce: u64) -> Program {
        let Self { cpu_ms, wall_ms, .. } = self;
        let code = format!(
            "import time\nbegan = time.monotonic()\nwhile time.process_time() < {cpu_ms} / 1000: pass\n\
             time.sleep(max(0, {wall_ms} / 1000 - (time.monotonic() - began)))\nprint({nonce})"
        );
        Program::new(nonce, request(Language::Python, code), None)
    }

    /// A hostile run, the next one in turn.
    pub fn hostile(&self, nonce: u64, turn: u64) -> anyhow::Result<Program> {
        self.hostile_run(nonce, turn as usize % self.hostile.len())
    }

    fn hostile_run(&self, nonce: u64, index: usize) -> anyhow::Result<Program> {
        Ok(Program::new(nonce, self.hostile[index].request()?, Some(index)))
    }

    /// Judges the result of the hostile run of this number.
    pub fn judge(&self, index: usize, result: &RunResult) -> Ended {
        let hostile = &self.hostile[index];
        let said = |what: String| format!("{}: {what}", hostile.name());
        let breaches = battery::breaches(result);
        if !breaches.is_empty() {
            return Ended::Breached(said(breaches.join("; ")));
        }
        let outcome = result.outcome.map_or("fault", Outcome::name);
        match hostile {
            Hostile::Attack(attack) => match battery::verdict(attack, result) {
                Verdict::Held => Ended::Held,
                Verdict::Breached(what) | Verdict::Inconclusive(what) | Verdict::Undefended(_, what) => {
                    Ended::Otherwise(said(what))
                }
            },
            Hostile::Kind(kind) if kind.outcome == outcome => Ended::Held,
            Hostile::Kind(_) => Ended::Otherwise(said(outcome.to_owned())),
        }
    }
}
