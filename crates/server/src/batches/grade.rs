//! What a case asks to be run, and what the ended run is worth. Pure.
//!
//! What a program should print is never in its sandbox. Tests that run inside its process are: `guest/*/grader.*` keep them from
//! the program until it has run, and prove with a nonce that they passed; docs/batches.md says what that is worth.

use super::answer::{CaseAnswer, ItemFault, Verdict};
use super::compare::{Compare, difference};
use super::item::{Case, Checker, language_of};
use crate::problem::{Kind, Problem};
use model::request::FileContent;
use model::{InputFile, Language, LimitsPatch, Outcome, RunRequest, RunResult};

const PYTHON_GRADER: &str = include_str!("../../../../guest/python/grader.py");
const JAVASCRIPT_GRADER: &str = include_str!("../../../../guest/javascript/grader.cjs");

/// Most characters of standard error in an answer.
const STDERR_CHARS: usize = 500;

/// The run of one program for one case. `nonce` is a secret word that differs for each.
pub fn request_of(program: &RunRequest, case: &Case, nonce: &str) -> Result<RunRequest, Problem> {
    let mut request = program.clone();
    request.files.extend(case.files.iter().cloned());
    if let Some(limits) = &case.limits {
        request.limits = overlaid(&request.limits, limits);
    }
    if let Some(stdin) = &case.stdin {
        request.stdin = Some(stdin.clone());
    }
    match tests_of(case) {
        None => Ok(request),
        Some((kind, tests)) => graded(request, kind, tests, nonce),
    }
}

/// The kind and text of tests that run inside the program's process.
fn tests_of(case: &Case) -> Option<(&'static str, &str)> {
    case.append
        .as_deref()
        .map(|tests| ("append", tests))
        .or(case.pytest.as_deref().map(|tests| ("pytest", tests)))
}

fn overlaid(under: &LimitsPatch, over: &LimitsPatch) -> LimitsPatch {
    LimitsPatch {
        timeout_ms: over.timeout_ms.or(under.timeout_ms),
        memory_bytes: over.memory_bytes.or(under.memory_bytes),
        cpus: over.cpus.or(under.cpus),
        processes: over.processes.or(under.processes),
        disk_bytes: over.disk_bytes.or(under.disk_bytes),
        output_bytes: over.output_bytes.or(under.output_bytes),
    }
}

/// Puts the program into a file, the grader in its place, and the tests where the program cannot read them.
fn graded(mut request: RunRequest, kind: &str, tests: &str, nonce: &str) -> Result<RunRequest, Problem> {
    let language = language_of(&request);
    let (grader, name) = match language {
        Some(Language::Python) => (PYTHON_GRADER, ".fireclay-grader.py"),
        Some(Language::JavaScript | Language::TypeScript) => (JAVASCRIPT_GRADER, ".fireclay-grader.cjs"),
        _ => {
            let hint = "name the language: python, javascript or typescript; judge other programs by `stdin` and `expected`";
            let detail = "tests cannot be appended to a program in this language";
            return Err(Problem::new(Kind::InvalidRequest, detail, hint).of_field("append"));
        }
    };
    let path = request
        .file_name
        .take()
        .or(language.map(|language| language.default_file().to_owned()))
        .unwrap_or_default();
    let stdin = request.stdin.take().unwrap_or_default();
    request.files.push(InputFile {
        path: path.clone(),
        content: FileContent::Text(request.code),
        executable: false,
    });
    request.args.insert(0, path);
    request.code = grader.to_owned();
    request.file_name = Some(name.to_owned());
    request.language = language
        .map(|language| if language == Language::TypeScript { Language::JavaScript } else { language });
    request.stdin = Some(format!("{nonce} {kind} {} {}\n{tests}{stdin}", tests.len(), stdin.len()));
    Ok(request)
}

/// Judges a run. With a checker a run that completed is left to it: then the verdict is passed so far.
pub fn judge(case: &Case, compare: Compare, nonce: &str, result: &RunResult) -> CaseAnswer {
    let mut answer = told(result);
    answer.id.clone_from(&case.id);
    let Some(outcome) = result.outcome else { return answer };
    if tests_of(case).is_some() {
        let (verdict, note) = proven(outcome, nonce, &result.stderr);
        answer.verdict = verdict;
        answer.note = note.map(str::to_owned);
        answer.stderr = answer.stderr.replace(nonce, "").trim_end().to_owned();
    } else if outcome != Outcome::Completed {
        answer.verdict = Verdict::Outcome(outcome);
    } else if result.stdout_truncated {
        answer.verdict = Verdict::WrongAnswer;
        answer.note = Some("the output is longer than `output_bytes`, so it was not compared".to_owned());
    } else if let Some(expected) = &case.expected {
        answer.difference = difference(compare, expected, &result.stdout);
        answer.verdict = if answer.difference.is_some() { Verdict::WrongAnswer } else { Verdict::Passed };
    }
    if answer.verdict == Verdict::Passed {
        answer.stderr.clear();
    }
    answer
}

/// What a run says of itself, passed unless it is a fault.
fn told(result: &RunResult) -> CaseAnswer {
    CaseAnswer {
        index: 0,
        id: None,
        verdict: if result.outcome.is_some() { Verdict::Passed } else { Verdict::Fault },
        run: Some(result.id.clone()),
        checker_run: None,
        exit_code: result.exit_code,
        wall_ms: result.usage.wall_ms,
        cpu_ms: result.usage.cpu_ms,
        memory_peak_bytes: result.usage.memory_peak_bytes,
        limits_hit: result.limits_hit.clone(),
        difference: None,
        note: None,
        stderr: tail(&result.stderr),
        fault: result.fault.as_ref().map(ItemFault::from),
    }
}

/// A case that was not tried.
pub fn untried(case: &Case, index: usize, verdict: Verdict, fault: Option<ItemFault>) -> CaseAnswer {
    CaseAnswer {
        index,
        id: case.id.clone(),
        verdict,
        run: None,
        checker_run: None,
        exit_code: None,
        wall_ms: 0,
        cpu_ms: 0,
        memory_peak_bytes: 0,
        limits_hit: Vec::new(),
        difference: None,
        note: None,
        stderr: String::new(),
        fault,
    }
}

/// What tests inside the process came to: only the grader knows the nonce, and only it says the word.
fn proven(outcome: Outcome, nonce: &str, stderr: &str) -> (Verdict, Option<&'static str>) {
    let said =
        stderr.rsplit_once(&format!("{nonce} ")).map(|(_, said)| said.split('\n').next().unwrap_or_default());
    match (outcome, said) {
        (Outcome::Completed, Some("passed")) => (Verdict::Passed, None),
        (Outcome::Completed | Outcome::Failed, Some("no-pytest")) => {
            let note = "the tests need pytest, which the image does not have; without it plain `test_*` functions, `Test*` classes and unittest are run";
            (Verdict::Outcome(Outcome::SetupFailed), Some(note))
        }
        (Outcome::Completed | Outcome::Failed, Some("no-tests")) => {
            (Verdict::WrongAnswer, Some("no test was run"))
        }
        (Outcome::Completed | Outcome::Failed, Some("wrong" | "failed")) => (Verdict::WrongAnswer, None),
        (Outcome::Completed, _) => (Verdict::WrongAnswer, Some("the program ended before its tests")),
        (other, _) => (Verdict::Outcome(other), None),
    }
}

fn tail(text: &str) -> String {
    let chars = text.chars().count();
    text.chars().skip(chars.saturating_sub(STDERR_CHARS)).collect()
}

/// The checker's run: what the program printed, what it read, and what it should have printed, as files.
pub fn checker_request(
    checker: &Checker,
    program: &RunRequest,
    case: &Case,
    result: &RunResult,
) -> RunRequest {
    let file = |path: &str, text: &str| InputFile {
        path: path.to_owned(),
        content: FileContent::Text(text.to_owned()),
        executable: false,
    };
    let stdin = case.stdin.as_ref().or(program.stdin.as_ref());
    RunRequest {
        language: Some(checker.language),
        code: checker.code.clone(),
        limits: checker.limits,
        files: vec![
            file("output.txt", &result.stdout),
            file("input.txt", stdin.map_or("", String::as_str)),
            file("expected.txt", case.expected.as_deref().unwrap_or_default()),
        ],
        metadata: program.metadata.clone(),
        ..RunRequest::default()
    }
}

/// What a checker's run says: passed, wrong, or that the checker is at fault.
pub fn checked(result: &RunResult) -> Result<Verdict, ItemFault> {
    if let Some(fault) = &result.fault {
        return Err(fault.into());
    }
    match (result.outcome, result.exit_code, &result.error) {
        (Some(Outcome::Completed), Some(0), _) => Ok(Verdict::Passed),
        // An uncaught exception exits with 1 too, and says nothing about the program.
        (Some(Outcome::Failed), Some(1), None) => Ok(Verdict::WrongAnswer),
        (outcome, exit_code, error) => {
            let outcome = outcome.map_or("fault", Outcome::name);
            let exit = exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
            let error = error
                .as_ref()
                .map(|error| format!(", by an uncaught {}", tail(&error.name)))
                .unwrap_or_default();
            let message = format!("the checker ended as {outcome}{exit}{error}; it must exit with 0 or 1");
            Err(ItemFault { code: "checker_failed".to_owned(), message, retry_safe: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_in_no_file_of_the_sandbox() {
        let program = RunRequest {
            language: Some(Language::Python),
            code: "x = 1".into(),
            args: vec!["a".into()],
            ..RunRequest::default()
        };
        let case = Case { append: Some("assert x == 1".into()), stdin: Some("in".into()), ..Case::default() };
        let request = request_of(&program, &case, "n0").unwrap();
        assert_eq!(request.args, ["main.py", "a"]);
        assert!(
            request
                .files
                .iter()
                .all(|file| !String::from_utf8_lossy(file.content.as_bytes()).contains("assert x"))
        );
        assert!(!request.code.contains("assert x"));
        assert_eq!(request.stdin.as_deref(), Some("n0 append 13 2\nassert x == 1in"));
    }

    #[test]
    fn only_the_word_under_the_nonce_is_proof() {
        let judged = |outcome, stderr: &str| proven(outcome, "n0", stderr).0;
        assert_eq!(judged(Outcome::Completed, "\nn0 passed\n"), Verdict::Passed);
        for stderr in [
            "",
            "passed",
            "n1 passed",
            "\nn0 wrong\n",
            "\nn0 passed!\n",
            "\nn0 passed\n\nn0 wrong\n",
            "\nn0 ended-early\n",
            "n0passed",
        ] {
            assert_eq!(judged(Outcome::Completed, stderr), Verdict::WrongAnswer, "{stderr:?}");
        }
        assert_eq!(judged(Outcome::Failed, "\nn0 passed\n"), Verdict::Outcome(Outcome::Failed));
        assert_eq!(judged(Outcome::Failed, "\nn0 wrong\n"), Verdict::WrongAnswer);
        assert_eq!(judged(Outcome::Failed, "\nn0 ended-early\n"), Verdict::Outcome(Outcome::Failed));
        assert_eq!(judged(Outcome::TimedOut, ""), Verdict::Outcome(Outcome::TimedOut));
        assert_eq!(judged(Outcome::Failed, "n0 no-pytest\n"), Verdict::Outcome(Outcome::SetupFailed));
    }
}
