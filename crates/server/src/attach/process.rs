//! A conversation with one process of a session: what it writes, what is typed to it, the size of its terminal, signals.

use super::wire::{Over, Wire};
use crate::http::body;
use crate::http::processes::{ProcessInput, ProcessView, SendSignal, TerminalSize, tell, told};
use crate::problem::{Kind, Problem};
use crate::service::Service;
use crate::sessions::OpenSession;
use axum::extract::ws::WebSocket;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use worker::session::{Process, ToProcess};

/// Who talks with which process.
pub struct ProcessConversation {
    /// The service.
    pub service: Arc<Service>,
    /// The session.
    pub open: Arc<OpenSession>,
    /// The process.
    pub process: Arc<Process>,
}

impl ProcessConversation {
    /// Talks to the end. What is still kept of what the process wrote is told first.
    pub async fn hold(self, socket: WebSocket) {
        let mut wire = Wire::new(socket, self.service.clone(), self.open.clone());
        let Err(over) = self.go_on(&mut wire).await;
        wire.end(over).await;
    }

    async fn go_on(&self, wire: &mut Wire) -> Result<Infallible, Over> {
        let view = ProcessView::from(&*self.process);
        wire.tell(&json!({"type": "attached", "session": self.open.session.id(), "process": view})).await?;
        let mut at = 0;
        loop {
            tokio::select! {
                heard = wire.next() => {
                    self.open.is_used();
                    if let Err(problem) = self.hear(heard?.as_str()).await {
                        wire.tell(&json!({"type": "problem", "problem": problem})).await?;
                    }
                }
                page = self.process.after(at) => {
                    let Some(page) = page else {
                        let view = ProcessView::from(&*self.process);
                        wire.tell(&json!({"type": "ended", "process": view})).await?;
                        return Err(Over::done("the process has ended"));
                    };
                    for piece in page {
                        let mut message = told(&piece);
                        message["type"] = "output".into();
                        wire.tell(&message).await?;
                        at = piece.end();
                    }
                }
            }
        }
    }

    async fn hear(&self, text: &str) -> Result<(), Problem> {
        let mut fields: Map<String, Value> = body::parse(text.as_bytes())?;
        let kind = fields.remove("type");
        let rest = Value::Object(fields).to_string();
        match kind.as_ref().and_then(Value::as_str) {
            Some("stdin") => {
                body::parse::<ProcessInput>(rest.as_bytes())?.give(&self.open, &self.process).await
            }
            Some("resize") => {
                let (rows, columns) = body::parse::<TerminalSize>(rest.as_bytes())?.checked()?;
                tell(&self.open, &self.process, ToProcess::Resize(rows, columns)).await
            }
            Some("signal") => {
                body::parse::<SendSignal>(rest.as_bytes())?.send(&self.open, &self.process).await
            }
            _ => {
                let hint = "use `stdin`, `resize` or `signal`";
                Err(Problem::new(Kind::InvalidRequest, "there is no such message", hint).of_field("type"))
            }
        }
    }
}
