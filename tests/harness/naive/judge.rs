//! Says what became of a run by what the code says of itself.

use super::{Weakness, Weaknesses, fault};
use model::{Fault, Limit, Outcome};
use sandbox::judge::Judgement;
use sandbox::supervise::Watched;
use serde_json::Value;
use sys::process::Ended;

/// Judges as the engine does, or by what a weakness believes.
pub(super) fn judge(watched: &Watched, weak: &Weaknesses) -> Result<Judgement, Fault> {
    if watched.seen.stop.is_none() {
        if weak.has(Weakness::BelievesFrames) {
            return Ok(by_frames(watched));
        }
        if weak.has(Weakness::BelievesOutput)
            && let Some(judgement) = by_output(watched)
        {
            return Ok(judgement);
        }
        if weak.has(Weakness::GuessesByExitCode)
            && let Some(ended) = watched.seen.ended
        {
            return Ok(by_exit_code(ended));
        }
    }
    sandbox::judge::judge(&watched.seen).ok_or_else(|| fault("nobody knows how it ended"))
}

fn exited(outcome: Outcome, code: i32) -> Judgement {
    Judgement { outcome, limits_hit: Vec::new(), exit_code: Some(code), signal: None }
}

/// By an exit code as a number, or success.
fn claimed(code: Option<&Value>) -> Judgement {
    let code = code.and_then(Value::as_i64).unwrap_or(0) as i32;
    exited(if code == 0 { Outcome::Completed } else { Outcome::Failed }, code)
}

/// An error frame is a failure; a result may name its own exit code; silence is success.
fn by_frames(watched: &Watched) -> Judgement {
    match (&watched.said.error, &watched.said.result) {
        (Some(_), _) => exited(Outcome::Failed, 1),
        (None, result) => claimed(result.as_ref().and_then(|bundle| bundle.get("exit_code"))),
    }
}

/// A result on standard output, as a frame or as a line of JSON, says that all went well; words of ours on standard error say what
/// they say.
fn by_output(watched: &Watched) -> Option<Judgement> {
    let (stdout, stderr) = (watched.stdout.text(), watched.stderr.text());
    if stderr.starts_with("fireclay: memory_exceeded") {
        return Some(Judgement { limits_hit: vec![Limit::Memory], ..exited(Outcome::MemoryExceeded, 137) });
    }
    let objects = stdout.lines().filter_map(|line| {
        // What stands before the object is the head of a frame.
        let json = &line[line.find('{')?..];
        serde_json::from_str::<serde_json::Map<String, Value>>(json).ok()
    });
    let mut results =
        objects.filter(|object| object.contains_key("exit_code") || object.contains_key("text/plain"));
    let last = results.next_back()?;
    Some(claimed(last.get("exit_code")))
}

/// As `$?` of a shell, and as those read it who cannot see more.
fn by_exit_code(ended: Ended) -> Judgement {
    let code = match ended {
        Ended::Exited(code) => code,
        Ended::Signalled(signal) => 128 + signal,
    };
    let outcome = match code {
        0 => Outcome::Completed,
        124 => Outcome::TimedOut,
        137 => Outcome::MemoryExceeded,
        _ => Outcome::Failed,
    };
    exited(outcome, code)
}
