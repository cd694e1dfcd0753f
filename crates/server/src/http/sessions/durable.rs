//! Sessions that outlive their node, as they are shown; and `POST /v1/sessions/{id}/save`.

use super::{SessionView, look, open_one, session_id};
use crate::http::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use crate::sessions::OpenSession;
use axum::Json as Answer;
use axum::extract::{Path, State};
use model::Rejection;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What of a session is kept beyond its node.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct DurableView {
    /// The node that has it; absent when none has: the next request that is for more than a look reopens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// When the files were looked at that are saved, RFC 3339 in UTC; absent until the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved_at: Option<String>,
    /// Whether files may have changed since, by a run or by a request: a node that is lost now takes that with it.
    unsaved: bool,
    /// Why they could not be saved the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// How often it was reopened.
    reopened: u64,
    /// The last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<ReopenedView>,
}

/// That a session was reopened.
#[derive(Debug, Serialize, ToSchema)]
struct ReopenedView {
    /// When, RFC 3339 in UTC.
    at: String,
    /// The node that was lost.
    from_node: String,
    /// When the files had been saved there with which it was reopened; absent if none were.
    files_of: Option<String>,
    /// What was lost, but for files that changed after that: `memory`, which is variables, imports, and all that ran.
    lost: String,
}

/// Of a session that is here.
pub fn here(open: &OpenSession) -> DurableView {
    let Some(durable) = &open.durable else { return DurableView::default() };
    let saving = durable.saving();
    DurableView {
        node: Some(durable.node.clone()),
        saved_at: saving.saved_at_ms.map(worker::run::time),
        unsaved: saving.changes > saving.saved || open.is_busy(),
        failure: saving.failure,
        reopened: durable.epoch,
        last: durable.reopened.as_ref().map(|reopened| ReopenedView {
            at: worker::run::time(reopened.at_ms),
            from_node: reopened.from.clone(),
            files_of: reopened.files_of_ms.map(worker::run::time),
            lost: "memory".to_owned(),
        }),
    }
}

/// Of a session that is on no node, as JSON.
pub fn away(saved_at_ms: Option<i64>, reopened: u64) -> serde_json::Value {
    let saved_at = saved_at_ms.map(worker::run::time);
    let view = DurableView { saved_at, reopened, ..DurableView::default() };
    serde_json::to_value(view).expect("a view is JSON")
}

/// What is said of a session that has ended here only because the node did: its next request opens it elsewhere, or here.
pub(super) fn goes_on(ended: &SessionView) -> Option<Problem> {
    let why = &ended.end.as_ref()?.why;
    ended.durable.as_ref().filter(|_| matches!(why.as_str(), "service_restarted" | "node_lost"))?;
    let detail = format!("the session has left this node: {why}");
    let hint = "ask again: it is reopened with the files that were saved";
    Some(Problem::new(Kind::Unavailable, detail, hint).retry_safe(true))
}

/// Save a session's files now
///
/// Of a session that was opened with `durable`, whose files are saved after each run anyway: this answers when those of this moment are.
#[utoipa::path(post, path = "/v1/sessions/{id}/save", operation_id = "save_session", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, description = "Its files are saved", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn save(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, Problem> {
    let id = session_id(&id)?;
    let open = open_one(&service, &caller, &id).await?;
    let Some(durable) = &open.durable else {
        let hint = "open one with \"durable\": true";
        return Err(Rejection::new("durable", "the session is not durable", hint).into());
    };
    durable.save().await.map_err(|failure| {
        let hint = "see what `failure` of the session's `durable` says, and ask again";
        Problem::new(Kind::Unavailable, format!("its files could not be saved: {failure}"), hint)
            .retry_safe(true)
    })?;
    look(&service, &caller, &id).await.map(Answer)
}
