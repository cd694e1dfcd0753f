//! What is said about an item, and about a batch at its end.

use super::compare::Difference;
use crate::problem::Problem;
use model::{Fault, FaultCode, Limit, Outcome, RunId, RunResult};
use serde::Serialize;
use std::collections::BTreeMap;
use store::BatchState;
use utoipa::ToSchema;

/// What became of a case, a program or an item: `passed`, `wrong_answer`, an outcome's name, `fault`, `skipped` or `rejected`.
///
/// A plain run has its outcome's name. `skipped` are cases after a first failure, if that was asked for; `rejected` are lines that
/// ask for nothing that can be run. A fault is ours, or the checker's: it says nothing about the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// It ended by itself, and is wrong.
    WrongAnswer,
    /// It did not end as it should, or was not asked more.
    Outcome(Outcome),
    /// Nobody knows: we failed.
    Fault,
    /// Not tried.
    Skipped,
    /// Not a request.
    Rejected,
}

impl Verdict {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::WrongAnswer => "wrong_answer",
            Self::Outcome(outcome) => outcome.name(),
            Self::Fault => "fault",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
        }
    }

    /// The verdict of the whole: of the first part that is not passed.
    pub fn of_parts(parts: impl IntoIterator<Item = Verdict>) -> Self {
        parts.into_iter().find(|part| *part != Self::Passed).unwrap_or(Self::Passed)
    }
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A failure that is not the program's: ours, with the code of a run's fault, or `checker_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemFault {
    /// What kind.
    pub code: String,
    /// What failed.
    pub message: String,
    /// Whether the same item may be sent again with hope.
    pub retry_safe: bool,
}

impl From<&Fault> for ItemFault {
    fn from(fault: &Fault) -> Self {
        let code = serde_json::to_value(fault.code).ok().and_then(|code| Some(code.as_str()?.to_owned()));
        Self { code: code.unwrap_or_default(), message: fault.message.clone(), retry_safe: fault.retry_safe }
    }
}

/// One case of one program.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CaseAnswer {
    /// Its place, from 0.
    pub index: usize,
    /// The client's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What became of it.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// The run; `GET /v1/runs/{id}` has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The checker's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checker_run: Option<RunId>,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Wall time.
    pub wall_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Most memory at once.
    pub memory_peak_bytes: u64,
    /// Limits that were touched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits_hit: Vec<Limit>,
    /// Where the output first differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// What to know about the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The end of standard error, unless the case is passed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// Whose failure it is, if it is not the program's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<ItemFault>,
}

/// One program and its cases.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProgramAnswer {
    /// Of the first case that is not passed, else `passed`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// How many cases are passed.
    pub passed: usize,
    /// How many there are.
    pub total: usize,
    /// In order.
    pub cases: Vec<CaseAnswer>,
}

impl ProgramAnswer {
    /// The answer of these cases.
    pub fn of(cases: Vec<CaseAnswer>) -> Self {
        let passed = cases.iter().filter(|case| case.verdict == Verdict::Passed).count();
        Self {
            verdict: Verdict::of_parts(cases.iter().map(|case| case.verdict)),
            passed,
            total: cases.len(),
            cases,
        }
    }
}

/// One line of the answer: one item. Which fields there are depends on what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Answer {
    /// The line's place in the batch, from 0; empty lines do not count.
    pub index: u32,
    /// The client's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// An item that asked for the same and was run in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u32>,
    /// What became of it.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// There when a part of it is a fault: whether it may be sent again with hope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_safe: Option<bool>,
    /// What is wrong with the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The failure of the item as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<ItemFault>,
    /// The result of a plain run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<RunResult>>,
    /// The cases of a graded program.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub program: Option<ProgramCases>,
    /// The programs of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<Vec<ProgramAnswer>>,
    /// Of a group: how many programs passed all cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs_passed: Option<usize>,
    /// Of a group, by k: the chance that of k programs, drawn without putting back, at least one passes (Chen et al. 2021, the
    /// unbiased estimate). Programs with a fault do not count; null if then fewer than k are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_at_k: Option<BTreeMap<usize, Option<f64>>>,
}

/// What a graded program's line says besides the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProgramCases {
    /// How many cases are passed.
    pub passed: usize,
    /// How many there are.
    pub total: usize,
    /// In order.
    pub cases: Vec<CaseAnswer>,
}

impl Answer {
    fn new(index: u32, id: Option<String>, verdict: Verdict) -> Self {
        Self {
            index,
            id,
            same_as: None,
            verdict,
            retry_safe: None,
            problem: None,
            fault: None,
            run: None,
            program: None,
            programs: None,
            programs_passed: None,
            pass_at_k: None,
        }
    }

    /// A line that asks for nothing that can be run.
    pub fn rejected(index: u32, id: Option<String>, problem: Problem) -> Self {
        Self { problem: Some(problem), ..Self::new(index, id, Verdict::Rejected) }
    }

    /// An item that was not tried, or not to its end.
    pub fn fault(index: u32, id: Option<String>, fault: ItemFault) -> Self {
        Self {
            retry_safe: Some(fault.retry_safe),
            fault: Some(fault),
            ..Self::new(index, id, Verdict::Fault)
        }
    }

    /// An item that was not tried because its batch was taken back, or because we ended.
    pub fn untried(index: u32, stopped: Option<BatchState>) -> Self {
        if stopped == Some(BatchState::Cancelled) {
            return Self::new(index, None, Verdict::Outcome(Outcome::Cancelled));
        }
        let fault = Fault::new(FaultCode::Interrupted, "the service ended before the item was done");
        Self::fault(index, None, ItemFault::from(&fault))
    }

    /// A plain run.
    pub fn run(index: u32, id: Option<String>, result: RunResult) -> Self {
        let verdict = result.outcome.map_or(Verdict::Fault, Verdict::Outcome);
        let retry_safe = result.fault.as_ref().map(|fault| fault.retry_safe);
        Self { retry_safe, run: Some(Box::new(result)), ..Self::new(index, id, verdict) }
    }

    /// A graded program.
    pub fn program(index: u32, id: Option<String>, program: ProgramAnswer) -> Self {
        let retry_safe = retry_safe(&program.cases);
        let ProgramAnswer { verdict, passed, total, cases } = program;
        Self {
            retry_safe,
            program: Some(ProgramCases { passed, total, cases }),
            ..Self::new(index, id, verdict)
        }
    }

    /// A group.
    pub fn group(index: u32, id: Option<String>, programs: Vec<ProgramAnswer>, k: &[usize]) -> Self {
        let judged = programs.iter().filter(|program| program.verdict != Verdict::Fault).count();
        let passed = programs.iter().filter(|program| program.verdict == Verdict::Passed).count();
        let pass_at_k = k.iter().map(|k| (*k, pass_at_k(judged, passed, *k))).collect();
        Self {
            retry_safe: retry_safe(programs.iter().flat_map(|program| &program.cases)),
            programs_passed: Some(passed),
            pass_at_k: Some(pass_at_k),
            ..Self::new(index, id, Verdict::of_parts(programs.iter().map(|program| program.verdict)))
        }
        .with_programs(programs)
    }

    fn with_programs(self, programs: Vec<ProgramAnswer>) -> Self {
        Self { programs: Some(programs), ..self }
    }
}

/// There when a part is a fault: whether one of them may pass next time.
fn retry_safe<'c>(cases: impl IntoIterator<Item = &'c CaseAnswer>) -> Option<bool> {
    cases
        .into_iter()
        .filter_map(|case| Some(case.fault.as_ref()?.retry_safe))
        .reduce(|one, other| one || other)
}

/// 1 − C(n−c, k) / C(n, k), as a product that never overflows; `None` for k beyond n.
fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    if k > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    let all_fail: f64 = (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    Some(1.0 - all_fail)
}

/// Parts of a batch that were judged, and how many passed. Faults, skipped and rejected parts are not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tally {
    /// How many passed.
    pub passed: u64,
    /// How many were judged.
    pub judged: u64,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, verdict: Verdict) {
        if !matches!(verdict, Verdict::Fault | Verdict::Skipped | Verdict::Rejected) {
            self.judged += 1;
            self.passed += u64::from(verdict == Verdict::Passed);
        }
    }
}

/// The last line: what the batch as a whole came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// How many items there are.
    pub total: u32,
    /// How many were answered; the rest were taken back or cut off.
    pub answered: u32,
    /// Answered items by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// From the first line to the last answer.
    pub wall_ms: u64,
    /// Runs that were made: programs, cases and checkers, each try counted.
    pub runs: u64,
    /// Items that were not run because another asked for the same.
    pub deduplicated: u64,
    /// Graded programs and groups.
    pub items: Tally,
    /// Programs that were run, those in groups too.
    pub programs: Tally,
    /// Cases that were run.
    pub cases: Tally,
}

impl Summary {
    /// Counts an answer that is that of another item.
    pub fn count_repeated(&mut self, verdict: &str, graded: bool) {
        self.answered += 1;
        self.deduplicated += 1;
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
        if graded && !matches!(verdict, "fault" | "rejected") {
            self.items.judged += 1;
            self.items.passed += u64::from(verdict == "passed");
        }
    }

    /// Counts an answer.
    pub fn count(&mut self, answer: &Answer) {
        self.answered += 1;
        *self.verdicts.entry(answer.verdict.name().to_owned()).or_default() += 1;
        if let Some(program) = &answer.program {
            self.items.count(answer.verdict);
            self.programs.count(answer.verdict);
            program.cases.iter().for_each(|case| self.cases.count(case.verdict));
        }
        if let Some(programs) = &answer.programs {
            self.items.count(answer.verdict);
            for program in programs {
                self.programs.count(program.verdict);
                program.cases.iter().for_each(|case| self.cases.count(case.verdict));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pass_at_k_is_the_unbiased_estimate() {
        assert_eq!(pass_at_k(10, 3, 1), Some(1.0 - 7.0 / 10.0));
        assert_eq!(pass_at_k(5, 0, 5), Some(0.0));
        assert_eq!(pass_at_k(5, 1, 5), Some(1.0));
        assert_eq!(pass_at_k(4, 2, 5), None);
        // C(8,5) / C(10,5) = 56 / 252.
        assert!((pass_at_k(10, 2, 5).unwrap() - (1.0 - 56.0 / 252.0)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn pass_at_k_is_a_chance_that_grows(n in 1usize..300, c in 0usize..300, k in 1usize..299) {
            let c = c.min(n);
            let (now, next) = (pass_at_k(n, c, k), pass_at_k(n, c, k + 1));
            prop_assert_eq!(now.is_some(), k <= n);
            for chance in now.into_iter().chain(next) {
                prop_assert!((0.0..=1.0).contains(&chance));
            }
            if let (Some(now), Some(next)) = (now, next) {
                prop_assert!(next >= now - 1e-12);
            }
        }
    }

    #[test]
    fn a_fault_is_never_counted_as_judged() {
        let mut tally = Tally::default();
        for verdict in [
            Verdict::Passed,
            Verdict::WrongAnswer,
            Verdict::Fault,
            Verdict::Skipped,
            Verdict::Outcome(Outcome::TimedOut),
        ] {
            tally.count(verdict);
        }
        assert_eq!(tally, Tally { passed: 1, judged: 3 });
    }
}
