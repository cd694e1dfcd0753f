//! Tasks: questions that a language model works on, and all that happened on the way, written down as it happens.

use crate::columns::{Conditions, from_json, from_word, moment, to_json, word};
use crate::idempotency::{self, Claimed};
use crate::limits::{
    IDEMPOTENCY_MS, TASK_CONVERSATION_BYTES_MAX, TASK_EVENT_BYTES_MAX, TASK_EVENTS_MAX,
    TASK_REQUEST_BYTES_MAX,
};
use crate::texts::{Text, unpack};
use crate::writer::{Transaction, Write};
use crate::{
    Actor, Cursor, Idempotency, Listed, NewAudit, Page, Reader, Scope, Store, StoreError, audit, traces,
};
use model::{SessionId, TaskId, TenantId};
use rusqlite::{ErrorCode, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// The model thinks, or its code runs.
    Running,
    /// Code waits for a person's word.
    Waiting,
    /// The latest question has an answer.
    Answered,
    /// A part of the budget was used up before there was one.
    BudgetExceeded,
    /// There is none, and the last event says why.
    Failed,
    /// Taken back.
    Cancelled,
    /// We ended before there was one.
    Interrupted,
}

impl TaskState {
    /// Whether nothing more happens by itself.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

/// A task as it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Made by the caller, of random bytes.
    pub id: TaskId,
    /// Who owns it.
    pub tenant: TenantId,
    /// When it began, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What was asked of the whole.
    pub request: Value,
    /// The session that its code runs in, if there is one already.
    pub session: Option<SessionId>,
    /// The client's key for it.
    pub idempotency: Option<Idempotency>,
}

/// Another question to a task that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewQuestion {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What happened by it.
    pub news: Vec<TaskNews>,
    /// The client's key for it.
    pub idempotency: Option<Idempotency>,
}

/// What recording a question answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskAdmission {
    /// It is in the store, and so many events are.
    Admitted(u64),
    /// The same request was admitted before, as a question of this task.
    Replayed(TaskId),
}

/// Something that happened in a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskNews {
    /// What kind: `code`, `ran`, …
    pub kind: &'static str,
    /// What it says.
    pub data: Value,
}

/// What changes in a task that is on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskStep {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Where it is from now on, if that changes.
    pub state: Option<TaskState>,
    /// The session that its code runs in from now on, if that changes.
    pub session: Option<SessionId>,
    /// What was said from now on, if that changes.
    pub conversation: Option<String>,
    /// What happened.
    pub news: Vec<TaskNews>,
}

/// One event of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEvent {
    /// Its place among the task's events, from 1 on, without gaps.
    pub number: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What kind.
    pub kind: String,
    /// What it says.
    pub data: Value,
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// This task.
    pub id: TaskId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Where it is.
    pub state: TaskState,
    /// When it began, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When its latest question was settled.
    pub settled_at_ms: Option<i64>,
    /// The session that its code runs in.
    pub session: Option<SessionId>,
    /// What was asked of the whole.
    pub request: Value,
    /// How many questions it was asked.
    pub questions: u32,
}

/// The event that ends a question.
const SETTLED: &str = "settled";

impl Store {
    /// Records a task with its first events, and claims the client's key for it. If the key stands for the same request already, nothing is
    /// recorded; fails with [`StoreError::IdempotencyConflict`] if it stands for another.
    pub fn create_task(&self, task: NewTask, news: Vec<TaskNews>) -> Write<TaskAdmission> {
        let prepared = moment(task.created_at_ms)
            .and_then(|()| task.idempotency.as_ref().map_or(Ok(()), idempotency::check))
            .and_then(|()| to_json(&task.request, "request of a task", TASK_REQUEST_BYTES_MAX))
            .and_then(|request| Ok((request, texts(&news)?)));
        let (request, news) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Write::refused(self, error),
        };
        self.write("create a task", move |transaction| {
            let NewTask { id, tenant, created_at_ms, session, idempotency, .. } = &task;
            if let Some(before) = claimed(transaction, tenant, idempotency.as_ref(), id, *created_at_ms)? {
                return Ok(TaskAdmission::Replayed(before));
            }
            let sql = "INSERT INTO tasks (id, tenant, state, created_at, session, request, questions)
                VALUES (?, ?, 'running', ?, ?, ?, 1)";
            let session = session.as_ref().map(SessionId::as_str);
            let row = params![id.as_str(), tenant.as_str(), created_at_ms, session, request];
            let seq = match transaction.sql(sql)?.insert(row) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(StoreError::Exists { id: id.to_string() });
                }
                other => other?,
            };
            append(transaction, seq, *created_at_ms, &news).map(TaskAdmission::Admitted)
        })
    }

    /// Has a task that has ended go on with another question. Fails with [`StoreError::NotSettled`] if it has not ended, with
    /// [`StoreError::AlreadySettled`] if it was taken back, and with [`StoreError::NotFound`] if the tenant has no such task.
    pub fn ask_task(&self, tenant: &TenantId, id: &TaskId, question: NewQuestion) -> Write<TaskAdmission> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let prepared = moment(question.at_ms)
            .and_then(|()| question.idempotency.as_ref().map_or(Ok(()), idempotency::check))
            .and_then(|()| texts(&question.news));
        let news = match prepared {
            Ok(news) => news,
            Err(error) => return Write::refused(self, error),
        };
        self.write("ask a task", move |transaction| {
            let key = question.idempotency.as_ref();
            if let Some(before) = claimed(transaction, &tenant, key, &id, question.at_ms)? {
                return Ok(TaskAdmission::Replayed(before));
            }
            let (seq, state) = find(transaction, &Scope::Tenant(tenant.clone()), &id)?;
            match state {
                TaskState::Running | TaskState::Waiting => return Err(StoreError::NotSettled),
                TaskState::Cancelled => return Err(StoreError::AlreadySettled),
                _ => {}
            }
            let sql = "UPDATE tasks SET state = 'running', settled_at = NULL, questions = questions + 1 WHERE seq = ?";
            transaction.execute(sql, [seq])?;
            append(transaction, seq, question.at_ms, &news).map(TaskAdmission::Admitted)
        })
    }

    /// Records what happened in a task that is on its way; returns how many events it has. Fails with [`StoreError::AlreadySettled`] if it
    /// has ended. A conversation that is too long is not kept, and takes the one before with it.
    pub fn tell_task(&self, id: &TaskId, step: TaskStep) -> Write<u64> {
        let id = id.clone();
        let news = match moment(step.at_ms).and_then(|()| texts(&step.news)) {
            Ok(news) => news,
            Err(error) => return Write::refused(self, error),
        };
        let TaskStep { at_ms, state, session, conversation, .. } = step;
        let conversation =
            conversation.map(|text| (text.len() <= TASK_CONVERSATION_BYTES_MAX).then(|| Text::of(text)));
        self.write("record a step of a task", move |transaction| {
            let (seq, now) = find(transaction, &Scope::Admin, &id)?;
            if now.is_settled() {
                return Err(StoreError::AlreadySettled);
            }
            if let Some(state) = state {
                let settled = state.is_settled().then_some(at_ms);
                let sql = "UPDATE tasks SET state = ?, settled_at = ? WHERE seq = ?";
                transaction.execute(sql, params![word(&state), settled, seq])?;
            }
            if let Some(session) = &session {
                transaction
                    .execute("UPDATE tasks SET session = ? WHERE seq = ?", params![session.as_str(), seq])?;
            }
            if let Some(conversation) = &conversation {
                let sql = "UPDATE tasks SET conversation = ? WHERE seq = ?";
                transaction.execute(sql, params![conversation, seq])?;
            }
            append(transaction, seq, at_ms, &news)
        })
    }

    /// Removes a task that has ended, with its events. Fails with [`StoreError::NotSettled`] if it is on its way. Audited.
    pub fn remove_task(&self, scope: Scope, id: &TaskId, by: Actor, at_ms: i64) -> Write<()> {
        let id = id.clone();
        self.write("remove a task", move |transaction| {
            let (seq, state) = find(transaction, &scope, &id)?;
            if !state.is_settled() {
                return Err(StoreError::NotSettled);
            }
            let tenant: String = transaction
                .sql("SELECT tenant FROM tasks WHERE seq = ?")?
                .query_row([seq], |row| row.get(0))?;
            transaction.execute("DELETE FROM task_events WHERE task = ?", [seq])?;
            traces::write::forget(transaction, id.as_str())?;
            transaction.execute("DELETE FROM tasks WHERE seq = ?", [seq])?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(from_word(tenant, "the tenant of a task")?),
                action: "task.remove".to_owned(),
                object: id.to_string(),
                detail: json!(null),
            };
            audit::append(transaction, &act).map(drop)
        })
    }
}

/// Claims the key for the task; `Some` if it stands for the same request already.
fn claimed(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    key: Option<&Idempotency>,
    id: &TaskId,
    at_ms: i64,
) -> Result<Option<TaskId>, StoreError> {
    let Some(key) = key else { return Ok(None) };
    match idempotency::claim(transaction, tenant, key, id.as_str(), at_ms)? {
        None => Ok(None),
        Some(Claimed::Task(first)) => Ok(Some(first)),
        Some(Claimed::Run(_) | Claimed::Batch(_)) => Err(StoreError::IdempotencyConflict),
    }
}

/// Events on their way into the table.
fn texts(news: &[TaskNews]) -> Result<Vec<(&'static str, Text)>, StoreError> {
    let text = |one: &TaskNews| to_json(&one.data, "event of a task", TASK_EVENT_BYTES_MAX);
    news.iter().map(|one| Ok((one.kind, Text::of(text(one)?)))).collect()
}

/// Adds events; returns how many there are.
fn append(
    transaction: &Transaction<'_>,
    seq: i64,
    at_ms: i64,
    news: &[(&'static str, Text)],
) -> Result<u64, StoreError> {
    let mut last: i64 = transaction
        .sql("SELECT ifnull(max(number), 0) FROM task_events WHERE task = ?")?
        .query_row([seq], |row| row.get(0))?;
    for (kind, data) in news {
        last += 1;
        let sql = "INSERT INTO task_events (task, number, at, kind, data) VALUES (?, ?, ?, ?, ?)";
        transaction.execute(sql, params![seq, last, at_ms, kind, data])?;
    }
    Ok(crate::columns::count(last))
}

/// The number and the state of a task.
fn find(transaction: &Transaction<'_>, scope: &Scope, id: &TaskId) -> Result<(i64, TaskState), StoreError> {
    let sql = "SELECT seq, state FROM tasks WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
    let found = transaction
        .sql(sql)?
        .query_row(params![id.as_str(), scope.tenant()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let (seq, state) = found.ok_or(StoreError::NotFound)?;
    Ok((seq, from_word(state, "the state of a task")?))
}

/// Ends what a predecessor left on its way. All that it recorded stays.
pub(crate) fn interrupt(transaction: &Transaction<'_>, before: i64, at_ms: i64) -> Result<(), StoreError> {
    let left: Vec<i64> = transaction
        .sql("SELECT seq FROM tasks WHERE settled_at IS NULL AND seq <= ?")?
        .query_map([before], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for seq in left {
        let sql = "UPDATE tasks SET state = 'interrupted', settled_at = ? WHERE seq = ?";
        transaction.execute(sql, params![at_ms, seq])?;
        let why = json!({"state": "interrupted", "error": "the service ended while the task was on its way"});
        append(transaction, seq, at_ms, &texts(&[TaskNews { kind: SETTLED, data: why }])?)?;
    }
    Ok(())
}

/// Removes ended tasks that are older than `oldest_ms` and whose session has no runs any more, with at most `events_max` events: a long one
/// goes in steps, the task itself in the last. Returns how many went, and whether another step would remove more.
pub(crate) fn remove_old(
    transaction: &Transaction<'_>,
    oldest_ms: i64,
    limit: usize,
    events_max: usize,
) -> Result<(u64, bool), StoreError> {
    let sql = "SELECT seq FROM tasks WHERE settled_at < ?
        AND NOT EXISTS (SELECT 1 FROM runs WHERE session = tasks.session) LIMIT ?";
    let mut statement = transaction.sql(sql)?;
    let old = statement.query_map(params![oldest_ms, limit as i64], |row| row.get(0))?;
    let old: Vec<i64> = old.collect::<Result<_, _>>()?;
    let mut left = events_max;
    for (removed, seq) in (0..).zip(&old) {
        let sql = "DELETE FROM task_events WHERE seq IN (SELECT seq FROM task_events WHERE task = ? LIMIT ?)";
        left -= transaction.execute(sql, params![seq, left as i64])?;
        if left == 0 {
            return Ok((removed, true));
        }
        let sql = "DELETE FROM tasks WHERE seq = ? RETURNING id";
        let id: Option<String> = transaction.sql(sql)?.query_row([seq], |row| row.get(0)).optional()?;
        traces::write::forget(transaction, &id.unwrap_or_default())?;
    }
    Ok((old.len() as u64, old.len() == limit))
}

const COLUMNS: &str = "id, tenant, state, created_at, settled_at, session, request, questions";

impl Reader {
    /// One task, if it is in the scope.
    pub fn task(&self, scope: &Scope, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.read("read a task", |db| {
            let sql = format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)");
            let mut statement = db.prepare_cached(&sql)?;
            let found = statement.query_row(params![id.as_str(), scope.tenant()], |found| Ok(row(found)));
            found.optional()?.transpose()
        })
    }

    /// Tasks of the scope, newest first; only those in this state, if one is said.
    pub fn tasks(
        &self,
        scope: &Scope,
        state: Option<TaskState>,
        page: &Page,
    ) -> Result<Listed<TaskRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        conditions.equal("state", state.map(|state| word(&state)));
        conditions.beyond("(created_at, id) < (?, ?)", page.cursor.as_ref());
        let limit = page.rows();
        self.read("list tasks", |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM tasks{} ORDER BY created_at DESC, id DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query(params_from_iter(&conditions.values))?;
            let place =
                |row: &TaskRow| Cursor { number: row.created_at_ms, word: row.id.as_str().to_owned() };
            crate::page::collect(rows, limit, row, place)
        })
    }

    /// The events of a task after the one of this number, in order, so many at most. `None` if the task is not in the scope.
    pub fn task_events(
        &self,
        scope: &Scope,
        id: &TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Option<Vec<TaskEvent>>, StoreError> {
        self.read("read the events of a task", |db| {
            let sql = "SELECT seq FROM tasks WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_row(params![id.as_str(), scope.tenant()], |row| row.get(0));
            let Some(seq) = found.optional()? else { return Ok(None) };
            let seq: i64 = seq;
            let sql = "SELECT number, at, kind, data FROM task_events WHERE task = ? AND number > ? ORDER BY number LIMIT ?";
            let mut statement = db.prepare_cached(sql)?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![seq, after, limit.min(TASK_EVENTS_MAX) as i64])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event(row)?);
            }
            Ok(Some(events))
        })
    }

    /// What the model and we have said in a task, as [`TaskStep::conversation`] had it last.
    pub fn task_conversation(&self, id: &TaskId) -> Result<Option<String>, StoreError> {
        self.read("read the conversation of a task", |db| {
            let mut statement = db.prepare_cached("SELECT conversation FROM tasks WHERE id = ?")?;
            let mut rows = statement.query([id.as_str()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            unpack(row.get_ref(0)?, "the conversation of a task", TASK_CONVERSATION_BYTES_MAX)
        })
    }

    /// The task that a key stands for, if it stands for anything. Fails with [`StoreError::IdempotencyConflict`] if that is another request.
    pub fn task_of_key(
        &self,
        tenant: &TenantId,
        idempotency: &Idempotency,
        now_ms: i64,
    ) -> Result<Option<TaskId>, StoreError> {
        self.read("find a task by its key", |db| {
            let sql =
                "SELECT object, body_sha256 FROM idempotency WHERE tenant = ? AND key = ? AND created_at > ?";
            let oldest = now_ms.saturating_sub(IDEMPOTENCY_MS);
            let place = params![tenant.as_str(), idempotency.key, oldest];
            let found: Option<(String, [u8; 32])> =
                db.prepare_cached(sql)?.query_row(place, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            match found {
                None => Ok(None),
                Some((object, body)) if body == idempotency.body_sha256 => {
                    object.parse().map(Some).map_err(|_| StoreError::IdempotencyConflict)
                }
                Some(_) => Err(StoreError::IdempotencyConflict),
            }
        })
    }
}

fn event(row: &Row<'_>) -> Result<TaskEvent, StoreError> {
    let what = "the events of a task";
    let data = unpack(row.get_ref(3)?, what, TASK_EVENT_BYTES_MAX)?;
    Ok(TaskEvent {
        number: crate::columns::count(row.get(0)?),
        at_ms: row.get(1)?,
        kind: row.get(2)?,
        data: from_json(&data.ok_or_else(|| StoreError::damaged(what))?, what)?,
    })
}

fn row(row: &Row<'_>) -> Result<TaskRow, StoreError> {
    let session: Option<String> = row.get(5)?;
    Ok(TaskRow {
        id: from_word(row.get(0)?, "the id of a task")?,
        tenant: from_word(row.get(1)?, "the tenant of a task")?,
        state: from_word(row.get(2)?, "the state of a task")?,
        created_at_ms: row.get(3)?,
        settled_at_ms: row.get(4)?,
        session: session.map(|id| from_word(id, "the session of a task")).transpose()?,
        request: from_json(&row.get::<_, String>(6)?, "the request of a task")?,
        questions: row.get(7)?,
    })
}
