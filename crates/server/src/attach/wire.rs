//! The connection of a conversation: what the client says next, whether it is there, and every reason to end it.

use crate::service::Service;
use crate::sessions::OpenSession;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use worker::session::Ended;

/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// After so long without a word from it, it is not.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the last message may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Longest reason of a close frame (RFC 6455 §5.5.1: 125 bytes with the code).
const REASON_BYTES_MAX: usize = 123;

/// Codes by which we close (RFC 6455 §7.4: from 4000 on they are ours).
mod code {
    /// All is said.
    pub const DONE: u16 = 1000;
    /// The service ends.
    pub const GOING_AWAY: u16 = 1001;
    /// A message that is not text.
    pub const NOT_TEXT: u16 = 1003;
    /// The session has ended.
    pub const SESSION_ENDED: u16 = 4000;
    /// The client said nothing for too long, not even that it is there.
    pub const SILENCE: u16 = 4008;
}

/// A connection.
pub struct Wire {
    socket: WebSocket,
    service: Arc<Service>,
    open: Arc<OpenSession>,
    beat: Interval,
    heard_at: Instant,
}

/// Why a conversation is over.
pub enum Over {
    /// The client ended it, or the connection broke.
    Left,
    /// We end it.
    Farewell {
        /// A code of RFC 6455.
        code: u16,
        /// For people.
        reason: String,
    },
}

impl From<axum::Error> for Over {
    fn from(_: axum::Error) -> Self {
        Self::Left
    }
}

impl Over {
    /// There is nothing more to be said.
    pub fn done(reason: &str) -> Self {
        Self::farewell(code::DONE, reason)
    }

    fn farewell(code: u16, reason: &str) -> Self {
        Self::Farewell { code, reason: reason.to_owned() }
    }
}

impl Wire {
    /// A connection that was just made, to talk about this session.
    pub fn new(socket: WebSocket, service: Arc<Service>, open: Arc<OpenSession>) -> Self {
        let mut beat = tokio::time::interval_at(Instant::now() + PING, PING);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, service, open, beat, heard_at: Instant::now() }
    }

    /// What the client says next. Safe to drop between: a ping that is cut off is finished with the next message.
    pub async fn next(&mut self) -> Result<Utf8Bytes, Over> {
        loop {
            tokio::select! {
                heard = self.socket.recv() => {
                    self.heard_at = Instant::now();
                    match heard.ok_or(Over::Left)?? {
                        Message::Text(text) => return Ok(text),
                        Message::Binary(_) => return Err(Over::farewell(code::NOT_TEXT, "a message is JSON text")),
                        Message::Ping(_) | Message::Pong(_) => {}
                        Message::Close(_) => return Err(Over::Left),
                    }
                }
                _ = self.beat.tick() => {
                    if self.heard_at.elapsed() > SILENCE {
                        return Err(Over::farewell(code::SILENCE, "nothing was heard from the client"));
                    }
                    self.socket.send(Message::Ping(Vec::new().into())).await?;
                }
                Ended { why, detail } = self.open.session.ended() => {
                    let reason = format!("the session has ended: {} {detail}", why.name());
                    return Err(Over::farewell(code::SESSION_ENDED, reason.trim_end()));
                }
                () = self.service.attachments.ending() => {
                    return Err(Over::farewell(code::GOING_AWAY, "the service is ending"));
                }
            }
        }
    }

    /// Says something.
    pub async fn tell(&mut self, message: &Value) -> Result<(), Over> {
        self.tell_text(message.to_string()).await
    }

    /// Says something that is JSON already.
    pub async fn tell_text(&mut self, text: String) -> Result<(), Over> {
        Ok(self.socket.send(Message::Text(Utf8Bytes::from(text))).await?)
    }

    /// Ends it. A client that is gone or does not read needs no farewell.
    pub async fn end(mut self, over: Over) {
        let Over::Farewell { code, reason } = over else { return };
        let frame = CloseFrame { code, reason: cut(&reason).into() };
        drop(tokio::time::timeout(FAREWELL, self.socket.send(Message::Close(Some(frame)))).await);
        // What is still on its way is heard until the client closes too: what we sent last is lost otherwise (RFC 6455 §7.1.1).
        let closed = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        drop(tokio::time::timeout(FAREWELL, closed).await);
    }
}

/// As much of a reason as a close frame has room for.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}
