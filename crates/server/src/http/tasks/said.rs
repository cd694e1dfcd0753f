//! What is asked of tasks, and what of it cannot be.

use crate::problem::Problem;
use crate::settings::ModelSettings;
use crate::tasks::Budget;
use model::{Egress, InputFile, Language, LimitsPatch, Rejection, SessionId, object};
use serde::Deserialize;
use utoipa::ToSchema;

/// How much a question may use; what is left out is as the service is set (`model.*`), and no more can be asked for.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TaskBudgetSaid)]
pub struct BudgetSaid {
    /// Answers of the model.
    #[schema(minimum = 1)]
    pub turns: Option<u32>,
    /// Tokens, read and written; the turn that goes beyond is the last.
    #[schema(minimum = 1)]
    pub tokens: Option<u64>,
    /// Dollars, as far as the price of the model is known.
    #[schema(minimum = 0)]
    pub dollars: Option<f64>,
    /// From the question to the answer, in milliseconds, without what a person took to approve runs.
    #[schema(minimum = 1)]
    pub time_ms: Option<u64>,
    /// Runs of code.
    pub runs: Option<u32>,
}

/// A task as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTask {
    /// The question, 256 KiB at most.
    #[schema(min_length = 1)]
    pub question: String,
    /// Instructions of your own for the model, beside those of the service, 64 KiB at most.
    #[serde(default)]
    pub instructions: Option<String>,
    /// The language of code that names none; absent means `python`.
    #[serde(default)]
    pub language: Option<Language>,
    /// What the task's session is made from; absent means the template of the language.
    #[serde(default)]
    pub template: Option<String>,
    /// A session of yours that code runs in, instead of one of the task's own. It stays when the task goes.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// Packages that all code of the task has, as `pandas>=2`.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Whether what Python code imports is installed before it runs; absent means yes.
    #[serde(default)]
    pub auto_packages: Option<bool>,
    /// Which hosts code may reach, through a proxy; absent is none.
    #[serde(default, deserialize_with = "Egress::deserialize")]
    pub egress: Option<Egress>,
    /// Files that the session begins with.
    #[serde(default)]
    #[schema(value_type = Vec<model::request::InputFileSaid>)]
    pub files: Vec<InputFile>,
    /// How much the session may use, and each of its runs.
    #[serde(default, deserialize_with = "object::deserialize")]
    pub limits: LimitsPatch,
    /// How much the question may use.
    #[serde(default, deserialize_with = "object::deserialize")]
    pub budget: BudgetSaid,
    /// Whether a language model reads code before it runs; what it finds unsafe is not run, and goes back to the model.
    #[serde(default)]
    pub review: bool,
    /// Whether each run waits for a person: `POST /v1/tasks/{id}/approvals/{n}`.
    #[serde(default)]
    pub ask: bool,
    /// Whether to answer only when the question is settled.
    #[serde(default)]
    pub wait: bool,
}

/// Another question to a task that has ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskTask {
    /// The question, 256 KiB at most.
    #[schema(min_length = 1)]
    pub question: String,
    /// How much it may use: a whole budget of its own.
    #[serde(default, deserialize_with = "object::deserialize")]
    pub budget: BudgetSaid,
    /// Whether to answer only when the question is settled.
    #[serde(default)]
    pub wait: bool,
}

/// What a person says to code that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ApprovalDecision)]
pub enum Verdict {
    /// It runs.
    Approve,
    /// It runs, and so does all that follows it for this question.
    Always,
    /// It does not run; the model is told so, with the reason.
    Deny,
}

/// A person's word about code that waits.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveAttempt {
    /// What is done with it.
    pub decision: Verdict,
    /// With `approve`: what runs instead.
    #[serde(default)]
    pub code: Option<String>,
    /// With `deny`: why, for the model, 64 KiB at most.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A mistake of the caller's.
pub fn reject(field: &str, message: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::from(Rejection::new(field, message, hint))
}

/// Refuses a text that is too long, or says nothing.
pub fn check_text(field: &str, text: &str, most: usize) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(reject(field, "it is empty", "say what is meant, or leave it out"));
    }
    if text.len() > most {
        let hint = "use a shorter one; long texts are files, for code to read";
        return Err(reject(field, format!("longer than {most} bytes"), hint));
    }
    Ok(())
}

/// The whole budget: what is said, as far as the service's settings let it.
pub fn budget_of(said: BudgetSaid, settings: &ModelSettings) -> Result<Budget, Problem> {
    fn within<T: PartialOrd + Copy + std::fmt::Display>(
        name: &str,
        said: Option<T>,
        (least, most): (T, T),
    ) -> Result<T, Problem> {
        let Some(said) = said else { return Ok(most) };
        let field = format!("budget.{name}");
        if said > most {
            let hint = format!("use {most} at most; `model.{name}` of the service's settings says so");
            return Err(reject(&field, "more than one question may use", hint));
        }
        // Also what is no number.
        if said >= least {
            return Ok(said);
        }
        Err(reject(&field, "too little to do anything with", format!("use {least} or more")))
    }
    let whole = |most: u64| u32::try_from(most).unwrap_or(u32::MAX);
    Ok(Budget {
        turns: within("turns", said.turns, (1, whole(settings.turns)))?,
        tokens: within("tokens", said.tokens, (1, settings.tokens))?,
        dollars: within("dollars", said.dollars, (0.0, settings.dollars))?,
        time_ms: within("time_ms", said.time_ms, (1, settings.time_ms))?,
        runs: within("runs", said.runs, (0, whole(settings.runs)))?,
    })
}
