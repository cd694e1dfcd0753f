//! The escape battery: every attack of `tests/escape/attacks/`, carried by the binary, and the judgement whether a sandbox held.
//!
//! An attack is a program that prints `BREACH …` for each thing that worked and `HELD` at its end. Its head of comment lines says
//! what stops it and what to expect:
//!
//! ```text
//! # id: RS-03
//! # title: more heap than there is
//! # stopped-by: create-cgroup join-cgroup
//! # expect: outcome memory_exceeded signalled
//! # limits: timeout=2s memory=64MiB
//! # control: also lower-limits
//! ```
//!
//! `needs: cgroup` names a layer without which the attack is not held off, where an operator allowed that layer to be missing.
//! `stopped-by` are names of plan steps, or parts of a step by the names that the tests' `weaken` gives them. Without `expect` the
//! program must end with `HELD`. The control is a run without the `stopped-by` steps and those named by `control: also`, in which
//! the attack must succeed; `control: only …` names all that is left out, where `limits` stands for those that the attack asks for;
//! `control: naive … [without …]` names weaknesses of the tests' naive supervisor, for attacks on what no step of a plan holds;
//! `control: none …` gives the reason why there is none.
//! Knows programs and results only: who runs them, and how, is the caller's.

use model::{Language, Layer, Limit, LimitsPatch, Outcome, RunResult, units};

/// The files, by name, as `build.rs` found them.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/battery_files.rs"));

/// What an attack prints, first word of the line, for each thing that worked.
pub const BREACH: &str = "BREACH";
/// What it prints when it has come to its end.
pub const HELD: &str = "HELD";

/// One attack in one language.
#[derive(Debug, Clone, PartialEq)]
pub struct Attack {
    /// In the catalogue: `FS-01`. From 100 on they are our own.
    pub id: &'static str,
    /// What it tries, in a few words.
    pub title: &'static str,
    /// The letters of the id.
    pub group: &'static str,
    /// What the program is written in.
    pub language: Language,
    /// The file it is in.
    pub file: &'static str,
    /// The steps of the plan that stop it.
    pub stopped_by: Vec<&'static str>,
    /// All of this must be true of the result.
    pub expect: Vec<Expect>,
    /// Layers without which it is not held off, and of which that is known.
    pub needs: Vec<Layer>,
    /// The limits to run it with.
    pub limits: LimitsPatch,
    /// How its teeth are shown.
    pub control: Control,
    /// The program.
    pub code: &'static str,
}

/// How it is shown that an attack would work, were it not for its walls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// It succeeds in a sandbox without these steps.
    Without(Vec<&'static str>),
    /// It succeeds against a supervisor with these weaknesses.
    Naive {
        /// By their names in the tests.
        weaknesses: Vec<&'static str>,
        /// Steps that the sandbox lacks besides.
        without: Vec<&'static str>,
    },
    /// There is none, for this reason.
    None(&'static str),
}

/// One thing that must be true of the result of an attack that was held off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The program came to its end and says so.
    Held,
    /// The outcome is one of these.
    Outcome(Vec<Outcome>),
    /// All of these limits were touched.
    Limits(Vec<Limit>),
    /// The program's own exit code.
    Exit(i32),
    /// The signal that ended it.
    Signal(&'static str),
    /// The run took no longer, in milliseconds.
    WithinMs(u64),
    /// It used no more memory.
    MemoryBytes(u64),
    /// The guest's value was not heard.
    NoResult,
    /// Standard output was cut.
    Truncated,
    /// At most so many files were collected.
    Artifacts(usize),
    /// None of them is larger, in bytes.
    LargestBytes(u64),
    /// All of standard output came, so many bytes.
    StdoutBytes(u64),
    /// Standard output contains this text.
    Prints(&'static str),
}

/// Whether a sandbox held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing worked, and everything came out as expected.
    Held,
    /// What worked, or what came out differently.
    Breached(String),
    /// The attack did not come to its end, so that nothing is known.
    Inconclusive(String),
    /// What worked, or came out differently, where this layer that it needs is missing: the result says so.
    Undefended(Layer, String),
}

/// All attacks, by id and file.
pub fn attacks() -> Vec<Attack> {
    FILES
        .iter()
        .map(|(file, text)| parse(file, text).expect("a test parses every file of the battery"))
        .collect()
}

/// Judges the result of an attack that was run as it stands, with its own limits.
pub fn verdict(attack: &Attack, result: &RunResult) -> Verdict {
    let missing = attack.needs.iter().find(|layer| result.isolation.missing.contains(layer));
    match (judge(attack, result), missing) {
        (Verdict::Breached(what), Some(layer)) => Verdict::Undefended(*layer, what),
        (verdict, _) => verdict,
    }
}

/// Judges by what was expected alone.
fn judge(attack: &Attack, result: &RunResult) -> Verdict {
    if let Some(fault) = &result.fault {
        return Verdict::Inconclusive(format!("fault: {fault}"));
    }
    let breaches = breaches(result);
    if !breaches.is_empty() {
        return Verdict::Breached(breaches.join("; "));
    }
    for expect in &attack.expect {
        match expect {
            Expect::Held if !said(result, HELD) => {
                let errors: Vec<&str> = result.stderr.lines().rev().take(3).collect();
                let end = result.outcome.map_or("fault", Outcome::name);
                return Verdict::Inconclusive(format!("{end} without {HELD}: {}", errors.join(" | ")));
            }
            expect if !expect.is_true_of(result) => {
                return Verdict::Breached(format!("expected {expect:?}, but {}", summary(result)));
            }
            _ => {}
        }
    }
    Verdict::Held
}

/// What worked, as the program says; empty if nothing did.
pub fn breaches(result: &RunResult) -> Vec<&str> {
    result.stdout.lines().filter(|line| line.split(' ').next() == Some(BREACH)).collect()
}

fn said(result: &RunResult, word: &str) -> bool {
    result.stdout.lines().any(|line| line == word)
}

fn summary(result: &RunResult) -> String {
    format!(
        "outcome {:?}, exit {:?}, signal {:?}, limits {:?}, wall {} ms, memory {}, artifacts {}",
        result.outcome,
        result.exit_code,
        result.signal,
        result.limits_hit,
        result.usage.wall_ms,
        result.usage.memory_peak_bytes,
        result.artifacts.len()
    )
}

impl Expect {
    fn is_true_of(&self, result: &RunResult) -> bool {
        match self {
            Self::Held => said(result, HELD),
            Self::Outcome(outcomes) => result.outcome.is_some_and(|outcome| outcomes.contains(&outcome)),
            Self::Limits(limits) => limits.iter().all(|limit| result.limits_hit.contains(limit)),
            Self::Exit(code) => result.exit_code == Some(*code),
            Self::Signal(signal) => result.signal.as_deref() == Some(signal),
            Self::WithinMs(ms) => result.usage.wall_ms <= *ms,
            Self::MemoryBytes(bytes) => result.usage.memory_peak_bytes <= *bytes,
            Self::NoResult => result.result.is_none() && result.displays.is_empty(),
            Self::Truncated => result.stdout_truncated,
            Self::Artifacts(most) => result.artifacts.len() <= *most,
            Self::LargestBytes(most) => result.artifacts.iter().all(|artifact| artifact.bytes <= *most),
            Self::StdoutBytes(bytes) => result.stdout.len() as u64 == *bytes && !result.stdout_truncated,
            Self::Prints(text) => result.stdout.contains(text),
        }
    }

    fn parse(text: &'static str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = || rest.parse::<u64>().map_err(|_| format!("expect {word}: not a number: {rest:?}"));
        Ok(match word {
            "held" => Self::Held,
            "outcome" => Self::Outcome(named(rest)?),
            "limits" => Self::Limits(named(rest)?),
            "exit" => Self::Exit(rest.parse().map_err(|_| format!("expect exit: not a number: {rest:?}"))?),
            "signal" => Self::Signal(rest),
            "within" => Self::WithinMs(units::parse_duration_ms(rest)?),
            "memory" => Self::MemoryBytes(units::parse_bytes(rest)?),
            "no-result" => Self::NoResult,
            "truncated" => Self::Truncated,
            "artifacts" => Self::Artifacts(number()? as usize),
            "largest" => Self::LargestBytes(units::parse_bytes(rest)?),
            "stdout" => Self::StdoutBytes(number()?),
            "prints" => Self::Prints(rest),
            _ => return Err(format!("unknown expectation {text:?}")),
        })
    }
}

/// Words of a closed set, by their names in JSON.
fn named<T: serde::de::DeserializeOwned>(words: &str) -> Result<Vec<T>, String> {
    words
        .split_whitespace()
        .map(|word| serde_json::from_value(word.into()).map_err(|error| format!("{word:?}: {error}")))
        .collect()
}

/// Reads one file: its head of comment lines, and the whole as the program.
fn parse(file: &'static str, text: &'static str) -> Result<Attack, String> {
    let wrong = |what: String| format!("{file}: {what}");
    let language = Language::of_file_name(file).ok_or_else(|| wrong("unknown extension".into()))?;
    let mut attack = Attack {
        id: "",
        title: "",
        group: "",
        language,
        file,
        stopped_by: Vec::new(),
        expect: Vec::new(),
        needs: Vec::new(),
        limits: LimitsPatch::default(),
        control: Control::Without(Vec::new()),
        code: text,
    };
    let mut control = None;
    let head = text.lines().map_while(|line| line.strip_prefix("# ").or(line.strip_prefix("// ")));
    for line in head {
        let (key, value) =
            line.split_once(": ").ok_or_else(|| wrong(format!("not a line of the head: {line:?}")))?;
        match key {
            "id" => attack.id = value,
            "title" => attack.title = value,
            "stopped-by" => attack.stopped_by.extend(value.split_whitespace()),
            "expect" => attack.expect.push(Expect::parse(value).map_err(wrong)?),
            "needs" => attack.needs.extend(named::<Layer>(value).map_err(wrong)?),
            "limits" => attack.limits = limits(value).map_err(wrong)?,
            "control" => control = Some(value),
            // What a reader should know.
            "note" => {}
            _ => return Err(wrong(format!("unknown key {key:?}"))),
        }
    }
    attack.group = attack.id.split_once('-').ok_or_else(|| wrong("no id".into()))?.0;
    if attack.expect.is_empty() {
        attack.expect.push(Expect::Held);
    }
    attack.control = control_of(&attack, control).map_err(wrong)?;
    Ok(attack)
}

fn control_of(attack: &Attack, said: Option<&'static str>) -> Result<Control, String> {
    let (word, rest) = said.map_or(("", ""), |said| said.split_once(' ').unwrap_or((said, "")));
    let steps = |own: &[&'static str]| own.iter().copied().chain(rest.split_whitespace()).collect::<Vec<_>>();
    match word {
        "none" if rest.is_empty() => Err("a missing control needs a reason".into()),
        "none" => Ok(Control::None(rest)),
        "only" | "naive" if rest.is_empty() => Err(format!("control: {word} of what?")),
        "only" => Ok(Control::Without(steps(&[]))),
        "naive" => {
            let (weaknesses, without) = rest.split_once(" without ").unwrap_or((rest, ""));
            let list = |words: &'static str| words.split_whitespace().collect();
            Ok(Control::Naive { weaknesses: list(weaknesses), without: list(without) })
        }
        "" | "also" if attack.stopped_by.is_empty() => {
            Err("nothing stops it, and there is no control".into())
        }
        "" | "also" => Ok(Control::Without(steps(&attack.stopped_by))),
        _ => Err(format!("unknown control {word:?}")),
    }
}

/// Limits as `name=value` words.
fn limits(text: &str) -> Result<LimitsPatch, String> {
    let mut limits = LimitsPatch::default();
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("not name=value: {word:?}"))?;
        match name {
            "timeout" => limits.timeout_ms = Some(units::parse_duration_ms(value)?),
            "memory" => limits.memory_bytes = Some(units::parse_bytes(value)?),
            "disk" => limits.disk_bytes = Some(units::parse_bytes(value)?),
            "output" => limits.output_bytes = Some(units::parse_bytes(value)?),
            "cpus" => limits.cpus = Some(value.parse().map_err(|_| format!("not a number: {value:?}"))?),
            "processes" => {
                limits.processes = Some(value.parse().map_err(|_| format!("not a number: {value:?}"))?)
            }
            _ => return Err(format!("unknown limit {name:?}")),
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_needs_a_missing_layer_is_named_and_nothing_else_is_excused() {
        let needs = parse("RS-03.py", "# id: RS-03\n# needs: cgroup\n# control: none x\n").unwrap();
        let other = Attack { needs: Vec::new(), ..needs.clone() };
        let missing = result("BREACH\n", &[Layer::Cgroup]);
        assert_eq!(verdict(&needs, &missing), Verdict::Undefended(Layer::Cgroup, "BREACH".into()));
        assert_eq!(verdict(&other, &missing), Verdict::Breached("BREACH".into()));
        assert_eq!(verdict(&needs, &result("BREACH\n", &[])), Verdict::Breached("BREACH".into()));
        assert_eq!(verdict(&needs, &result("HELD\n", &[Layer::Cgroup])), Verdict::Held);
        assert!(matches!(verdict(&needs, &result("", &[Layer::Cgroup])), Verdict::Inconclusive(_)));
    }

    /// The result of a program that printed this where these layers were missing.
    fn result(stdout: &str, missing: &[Layer]) -> RunResult {
        let nothing: [u8; 0] = [];
        serde_json::from_value(serde_json::json!({
            "id": "run_00000000000000000000000000", "state": "settled", "outcome": "completed", "exit_code": 0,
            "stdout": stdout, "stderr": "", "stdout_truncated": false, "stderr_truncated": false,
            "limits_hit": nothing, "displays": nothing, "artifacts": nothing, "findings": nothing, "egress": nothing,
            "language": "python", "created_at": "", "metadata": {},
            "usage": { "wall_ms": 1, "cpu_ms": 1, "memory_peak_bytes": 1, "queue_ms": 0 },
            "isolation": { "level": "default", "layers": nothing, "missing": missing },
            "digests": { "code": "", "inputs": "", "image": "", "policy": "", "outputs": "" },
        }))
        .unwrap()
    }

    const GOOD: &str = "# id: RS-03\n# title: t\n# stopped-by: join-cgroup seccomp\n# expect: outcome memory_exceeded signalled\n\
                        # limits: timeout=2s memory=64MiB cpus=0.5\n# control: also landlock\n\nprint()\n# id: not the head\n";

    #[test]
    fn a_head_is_read() {
        let attack = parse("RS-03.py", GOOD).unwrap();
        assert_eq!((attack.id, attack.group, attack.language), ("RS-03", "RS", Language::Python));
        assert_eq!(attack.expect, [Expect::Outcome(vec![Outcome::MemoryExceeded, Outcome::Signalled])]);
        assert_eq!((attack.limits.timeout_ms, attack.limits.memory_bytes), (Some(2000), Some(64 << 20)));
        assert_eq!(attack.control, Control::Without(vec!["join-cgroup", "seccomp", "landlock"]));
        assert_eq!(attack.code, GOOD);
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |text: &'static str| parse("X-1.py", text).unwrap_err();
        assert_eq!(mistake("# title: t\n"), "X-1.py: no id");
        assert_eq!(mistake("# id: X-1\n"), "X-1.py: nothing stops it, and there is no control");
        assert_eq!(mistake("# id: X-1\n# control: none\n"), "X-1.py: a missing control needs a reason");
        assert_eq!(mistake("# id: X-1\n# expect: luck\n"), "X-1.py: unknown expectation \"luck\"");
        assert_eq!(mistake("# id: X-1\n# color: red\n"), "X-1.py: unknown key \"color\"");
    }

    #[test]
    fn every_file_is_an_attack_of_its_name() {
        let attacks = attacks();
        for attack in &attacks {
            assert_eq!(attack.file.split_once('.').unwrap().0, attack.id, "{}", attack.file);
            assert!(!attack.title.is_empty(), "{}", attack.file);
        }
        let files: BTreeSet<&str> = attacks.iter().map(|attack| attack.file).collect();
        assert_eq!(files.len(), attacks.len());
    }
}
