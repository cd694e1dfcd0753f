//! Tasks as their owners see them.

use crate::problem::Problem;
use crate::service::internal;
use crate::tasks::{Asked, Attempt, Exchange, Spent, Story};
use model::{SessionId, TaskId};
use serde::Serialize;
use store::{TaskRow, TaskState};
use utoipa::ToSchema;

/// A task as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskSummary {
    /// This task.
    pub id: TaskId,
    /// `running`, `waiting` (for a person), `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted` (the service ended).
    #[schema(value_type = String)]
    pub state: TaskState,
    /// When it began, RFC 3339 in UTC.
    pub created_at: String,
    /// When its latest question was settled.
    pub settled_at: Option<String>,
    /// Its first question.
    pub question: String,
    /// How many questions it was asked.
    pub questions: u32,
    /// The session that its code runs in, once it has one.
    pub session: Option<SessionId>,
    /// Who works on it, as `provider:model`.
    pub model: String,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskView {
    /// This task.
    pub id: TaskId,
    /// `running`, `waiting` (for a person), `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted` (the service ended).
    #[schema(value_type = String)]
    pub state: TaskState,
    /// When it began, RFC 3339 in UTC.
    pub created_at: String,
    /// When its latest question was settled.
    pub settled_at: Option<String>,
    /// The answer to its latest question, if there is one. Never made up of what there was.
    pub answer: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// The part of the budget that the latest question used up: `turns`, `tokens`, `dollars`, `time` or `runs`.
    pub limit: Option<String>,
    /// What the latest question used, so far.
    pub usage: Spent,
    /// The number of the attempt that waits for a person, if one does.
    pub approval: Option<u32>,
    /// The session that its code runs in, once it has one.
    pub session: Option<SessionId>,
    /// Who works on it, as `provider:model`.
    pub model: String,
    /// Whether each run waits for a person.
    pub ask: bool,
    /// Whether a language model reads code before it runs.
    pub review: bool,
    /// Its questions, in their order.
    pub questions: Vec<Exchange>,
    /// All code that the model wrote, and what became of it.
    pub attempts: Vec<Attempt>,
}

/// What the request of a task says; an old one that is not understood says nothing.
pub fn asked_of(row: &TaskRow) -> Result<Asked, Problem> {
    serde_json::from_value(row.request.clone()).map_err(|error| internal(error.to_string()))
}

impl TaskSummary {
    /// As the store has it.
    pub fn of(row: TaskRow) -> Result<Self, Problem> {
        let asked = asked_of(&row)?;
        Ok(Self {
            id: row.id,
            state: row.state,
            created_at: worker::run::time(row.created_at_ms),
            settled_at: row.settled_at_ms.map(worker::run::time),
            question: asked.question,
            questions: row.questions,
            session: row.session,
            model: asked.model,
        })
    }
}

impl TaskView {
    /// As the store has it.
    pub fn of(row: TaskRow, story: Story) -> Result<Self, Problem> {
        let asked = asked_of(&row)?;
        let last = story.questions.last();
        Ok(Self {
            id: row.id,
            state: row.state,
            created_at: worker::run::time(row.created_at_ms),
            settled_at: row.settled_at_ms.map(worker::run::time),
            answer: last.and_then(|last| last.answer.clone()),
            error: last.and_then(|last| last.error.clone()),
            limit: last.and_then(|last| last.limit.clone()),
            usage: last.map_or_else(Spent::default, |last| last.usage),
            approval: story.approval,
            session: row.session,
            model: asked.model,
            ask: asked.ask,
            review: asked.review,
            questions: story.questions,
            attempts: story.attempts,
        })
    }
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskList {
    /// Newest first.
    pub items: Vec<TaskSummary>,
    /// Where the next page begins; absent when this is the last.
    pub next: Option<String>,
}
