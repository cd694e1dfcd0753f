//! Carries out one item: its runs, each tried again after a fault that may pass, and what they are worth together.

use super::answer::{Answer, CaseAnswer, ItemFault, ProgramAnswer, Verdict};
use super::grade;
use super::item::{Asked, Case, Grading, Item};
use super::{LiveBatch, RETRIES};
use crate::live::Judge;
use crate::problem::Problem;
use crate::service::{Service, Submission, Submitted};
use crate::traces::Origin;
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use futures_util::stream;
use model::{Outcome, RunRequest, RunResult};
use std::sync::Arc;
use std::time::Duration;
use store::BatchState;
use tokio::sync::Semaphore;

/// How long to wait at most for room in the queue before asking again.
const ROOM_PAUSE: Duration = Duration::from_millis(200);

/// What the items of a batch share.
#[derive(Debug, Clone)]
pub struct Performer {
    /// Who runs.
    pub service: Arc<Service>,
    /// For which batch.
    pub batch: Arc<LiveBatch>,
    /// Runs at once: a few more than there are places, so that none of them waits for us and others find room.
    pub slots: Arc<Semaphore>,
    /// How many runs that is.
    pub width: usize,
}

/// Why there is no result: the request is wrong, or we could not even begin.
enum Unrun {
    Rejected(Problem),
    Fault(ItemFault),
    Stopped,
}

impl Performer {
    /// Answers an item.
    pub async fn answer(&self, index: u32, item: Item) -> Answer {
        let Item { id, asked } = item;
        let answered = match asked {
            Asked::Run(request) => {
                let ran = self.run(index, *request, None).await;
                ran.map(|result| Answer::run(index, id.clone(), (*result).clone()))
            }
            Asked::Program(grading) => {
                let graded = self.grade(index, &grading).await;
                graded.map(|mut programs| {
                    let program = programs.pop().unwrap_or_else(|| ProgramAnswer::of(Vec::new()));
                    Answer::program(index, id.clone(), program)
                })
            }
            Asked::Group(grading) => {
                let graded = self.grade(index, &grading).await;
                graded.map(|programs| Answer::group(index, id.clone(), programs, &grading.k))
            }
        };
        answered.unwrap_or_else(|unrun| match unrun {
            Unrun::Rejected(problem) => Answer::rejected(index, id, problem),
            Unrun::Fault(fault) => Answer::fault(index, id, fault),
            Unrun::Stopped => Answer { id, ..Answer::untried(index, self.batch.stopped()) },
        })
    }

    /// Judges every program by every case. A request that is wrong is found before anything runs.
    async fn grade(&self, index: u32, grading: &Grading) -> Result<Vec<ProgramAnswer>, Unrun> {
        for program in &grading.programs {
            for case in &grading.cases {
                let request = grade::request_of(program, case, "").map_err(Unrun::Rejected)?;
                self.service.admit(&self.batch.tenant, request).await.map_err(Unrun::of)?;
            }
        }
        if let Some(checker) = &grading.checker {
            let request = RunRequest {
                language: Some(checker.language),
                code: checker.code.clone(),
                limits: checker.limits,
                ..RunRequest::default()
            };
            self.service.admit(&self.batch.tenant, request).await.map_err(|problem| {
                match Unrun::of(problem) {
                    Unrun::Rejected(problem) => Unrun::Rejected(problem.of_field("checker")),
                    other => other,
                }
            })?;
        }
        // Collected, since the compiler cannot see through a stream of closures that borrow (rust-lang/rust#102211).
        let programs: Vec<_> =
            grading.programs.iter().map(|program| self.program(index, grading, program)).collect();
        Ok(stream::iter(programs).buffered(self.width).collect().await)
    }

    async fn program(&self, index: u32, grading: &Grading, program: &RunRequest) -> ProgramAnswer {
        let case = |(at, case)| async move {
            CaseAnswer { index: at, ..self.case(index, grading, program, case).await }
        };
        let cases = grading.cases.iter().enumerate();
        if !grading.stop_at_first_failure {
            let cases: Vec<_> = cases.map(case).collect();
            return ProgramAnswer::of(stream::iter(cases).buffered(self.width).collect().await);
        }
        let mut answers: Vec<CaseAnswer> = Vec::new();
        for (at, next) in cases {
            let failed = answers.last().is_some_and(|last| last.verdict != Verdict::Passed);
            answers.push(match failed {
                true => grade::untried(next, at, Verdict::Skipped, None),
                false => case((at, next)).await,
            });
        }
        ProgramAnswer::of(answers)
    }

    async fn case(&self, index: u32, grading: &Grading, program: &RunRequest, case: &Case) -> CaseAnswer {
        match self.try_case(index, grading, program, case).await {
            Ok(answer) => answer,
            Err(Unrun::Stopped) => {
                let Answer { verdict, fault, .. } = Answer::untried(index, self.batch.stopped());
                grade::untried(case, 0, verdict, fault)
            }
            Err(Unrun::Fault(fault)) => grade::untried(case, 0, Verdict::Fault, Some(fault)),
            // It was admitted before; meanwhile the quota was narrowed, or the service drains.
            Err(Unrun::Rejected(problem)) => {
                let fault =
                    ItemFault { code: "internal".to_owned(), message: problem.to_string(), retry_safe: true };
                grade::untried(case, 0, Verdict::Fault, Some(fault))
            }
        }
    }

    async fn try_case(
        &self,
        index: u32,
        grading: &Grading,
        program: &RunRequest,
        case: &Case,
    ) -> Result<CaseAnswer, Unrun> {
        let nonce = nonce()?;
        let request = grade::request_of(program, case, &nonce).map_err(Unrun::Rejected)?;
        let (judged, compare, secret) = (case.clone(), grading.compare, nonce.clone());
        // With a checker the verdict is not known when the run is recorded.
        let judge: Option<Judge> = grading.checker.is_none().then(|| {
            Judge::new(move |result| {
                grade::judge(&judged, compare, &secret, result).verdict.name().to_owned()
            })
        });
        let result = self.run(index, request, judge).await?;
        let Some(checker) = &grading.checker else { return Ok(grade::judge(case, compare, &nonce, &result)) };
        let unjudged = Case { expected: None, ..case.clone() };
        let mut answer = grade::judge(&unjudged, compare, &nonce, &result);
        if answer.verdict != Verdict::Passed {
            return Ok(answer);
        }
        let judge = Judge::new(|result| grade::checked(result).unwrap_or(Verdict::Fault).name().to_owned());
        let request = grade::checker_request(checker, program, case, &result);
        let checked = match self.run(index, request, Some(judge)).await {
            Ok(checked) => {
                answer.checker_run = Some(checked.id.clone());
                grade::checked(&checked)
            }
            Err(Unrun::Fault(fault)) => Err(fault),
            Err(Unrun::Stopped) => return Err(Unrun::Stopped),
            // What the program printed is too much for the checker's disk, or the like.
            Err(Unrun::Rejected(problem)) => {
                let message = format!("the checker cannot be run: {problem}");
                Err(ItemFault { code: "checker_failed".to_owned(), message, retry_safe: false })
            }
        };
        match checked {
            Ok(verdict) => answer.verdict = verdict,
            Err(fault) => {
                answer.verdict = Verdict::Fault;
                answer.fault = Some(fault);
            }
        }
        Ok(answer)
    }

    /// Runs a request to its end, again if a fault may pass. The last fault is a result too.
    async fn run(
        &self,
        index: u32,
        request: RunRequest,
        judge: Option<Judge>,
    ) -> Result<Arc<RunResult>, Unrun> {
        // Never closed.
        let _slot = self.slots.acquire().await;
        let mut tries = 0;
        loop {
            let result = self.run_once(index, request.clone(), judge.clone()).await?;
            self.batch.count_runs(1);
            let again = result.fault.as_ref().is_some_and(|fault| fault.retry_safe);
            if !again || tries == RETRIES || self.batch.stopped().is_some() {
                return Ok(result);
            }
            tries += 1;
        }
    }

    async fn run_once(
        &self,
        index: u32,
        request: RunRequest,
        judge: Option<Judge>,
    ) -> Result<Arc<RunResult>, Unrun> {
        let submission = Submission {
            tenant: self.batch.tenant.clone(),
            request,
            idempotency: None,
            batch: Some((self.batch.id.clone(), index)),
            merge_output: false,
            told_late: false,
            environment: None,
            session: None,
            trace: Origin::Within(self.batch.id.to_string()),
        };
        let live = loop {
            if self.batch.stopped().is_some() {
                return Err(Unrun::Stopped);
            }
            match self.service.submit_judged(submission.clone(), judge.clone()).await {
                Ok(Submitted::New { live, .. }) => break live,
                Ok(Submitted::Replayed(_)) => unreachable!("without a key nothing is replayed"),
                // Others have filled the queue: the batch waits, as its client then does.
                Err(problem) if problem.status() == StatusCode::TOO_MANY_REQUESTS => {
                    drop(tokio::time::timeout(ROOM_PAUSE, self.service.machine.released()).await);
                }
                Err(problem) => return Err(Unrun::of(problem)),
            }
        };
        let finished = tokio::select! {
            finished = live.finished() => finished,
            () = self.batch.stopping() => {
                // When we end, what runs may go on as long as single runs may.
                if self.batch.stopped() == Some(BatchState::Cancelled) {
                    live.cancel();
                }
                live.finished().await
            }
        };
        let result = finished.map_err(Unrun::of)?;
        let cut_off = result.outcome == Some(Outcome::Cancelled) && self.batch.stopped().is_some();
        if cut_off { Err(Unrun::Stopped) } else { Ok(result) }
    }
}

impl Unrun {
    /// The client's mistake, or ours.
    fn of(problem: Problem) -> Self {
        if problem.status().is_client_error() {
            return Self::Rejected(problem);
        }
        Self::Fault(ItemFault { code: "internal".to_owned(), message: problem.to_string(), retry_safe: true })
    }
}

/// A word that nobody can guess.
fn nonce() -> Result<String, Unrun> {
    let random = sys::fs::random().map_err(|error| {
        Unrun::Fault(ItemFault { code: "internal".to_owned(), message: error.to_string(), retry_safe: true })
    })?;
    Ok(worker::run::hex(&random))
}
