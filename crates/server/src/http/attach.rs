//! `/v1/sessions/{id}/attach`: the door to a conversation.

use crate::attach::{Conversation, MESSAGE_BYTES_MAX, ProcessConversation};
use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::http::processes::process_of;
use crate::http::sessions::{open_one, session_id};
use crate::problem::{Kind, Problem};
use crate::service::{Service, draining};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(attach))
}

/// With what to talk.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct AttachQuery {
    /// A process of the session; absent means its interpreters
    process: Option<u32>,
}

/// Talk with a session over WebSocket
///
/// Each message is one JSON object: runs are started here and tell what they write as it comes, what is typed goes to the run that
/// reads, and a run is interrupted as at a prompt. docs/attach.md has the messages.
#[utoipa::path(get, path = "/v1/sessions/{id}/attach", operation_id = "attach_session", tag = "sessions", params(AttachQuery, ("id" = String, Path, description = "The session")),
    responses((status = 101, description = "The conversation begins"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn attach(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(AttachQuery { process }): Query<AttachQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let open = open_one(&service, &caller, &session_id(&id)?).await?;
    let upgrade = upgrade.map_err(|error| {
        let hint = "open it as a WebSocket (RFC 6455), or POST to …/runs";
        Problem::new(Kind::InvalidRequest, error.body_text(), hint)
    })?;
    if service.is_draining() {
        return Err(draining());
    }
    let place = service.attachments.enter(open.session.id())?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    if let Some(process) = process {
        let (open, process) = process_of(&service, &caller, &id, &process.to_string()).await?;
        let conversation = ProcessConversation { service, open, process };
        return Ok(upgrade.on_upgrade(move |socket| async move {
            conversation.hold(socket).await;
            drop(place);
        }));
    }
    let conversation = Conversation { service, tenant: caller.tenant, open };
    Ok(upgrade.on_upgrade(move |socket| async move {
        conversation.hold(socket).await;
        drop(place);
    }))
}
