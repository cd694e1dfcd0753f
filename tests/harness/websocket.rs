//! A plain WebSocket client: JSON in, JSON out, and how it was closed.

use crate::server::{PATIENCE, Server};
use serde_json::Value;
use std::net::TcpStream;
use std::time::Instant;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// A connection.
pub struct Wire {
    /// Itself, for those who want to say something unusual.
    pub socket: WebSocket<TcpStream>,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Said(Value),
    /// The end, with code and reason; 1006 for one without a word.
    Closed(u16, String),
}

impl Wire {
    /// Opens one, or returns the status that was answered instead.
    pub fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::open_at(&server.url(path), server.connect(), headers)
    }

    /// The same at any address, over a connection to it.
    pub fn open_at(url: &str, stream: TcpStream, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = url.replacen("http", "ws", 1).into_client_request().expect("an address");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Says something.
    pub fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).expect("it is open");
    }

    /// Hears the next message or the end. Panics when none comes for [`PATIENCE`].
    pub fn hear(&mut self) -> Next {
        let begun = Instant::now();
        loop {
            // The service asks now and then whether we are there, which says nothing.
            assert!(begun.elapsed() < PATIENCE, "nothing was said for {PATIENCE:?}");
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Next::Said(serde_json::from_str(text.as_str()).expect("it is JSON"));
                }
                Ok(Message::Close(frame)) => {
                    let frame = frame
                        .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return Next::Closed(frame.0, frame.1);
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing was said for {PATIENCE:?}")
                }
                Err(_) => return Next::Closed(1006, String::new()),
            }
        }
    }

    /// Hears messages until one of this kind; all others are let go.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.hear() {
                Next::Said(message) if message["type"] == kind => return message,
                Next::Said(_) => {}
                Next::Closed(code, reason) => panic!("closed ({code} {reason}) before any {kind}"),
            }
        }
    }

    /// Hears messages until the end; returns how it was closed.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            if let Next::Closed(code, reason) = self.hear() {
                return (code, reason);
            }
        }
    }
}
