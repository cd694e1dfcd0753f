//! A plain client: one connection for each request, every status is an answer, server-sent events one by one.

use crate::server::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Status and JSON; null for an empty body.
    pub fn into_json(self) -> (u16, Value) {
        if self.body.is_empty() {
            return (self.status, Value::Null);
        }
        let value = serde_json::from_slice(&self.body);
        (self.status, value.unwrap_or_else(|error| panic!("{error}: {self:?}")))
    }
}

/// Larger than any answer of a test.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Sends a request and reads the whole answer, or says why there is none.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
    let mut response = ask(method, url, headers, body)?;
    let named = response.headers().iter();
    let headers = named
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(Answer { status, headers, body: body.map_err(|error| error.to_string())? })
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(2 * PATIENCE))
        .max_idle_connections(0)
        .allow_non_standard_methods(true);
    config.build().into()
}

fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response<Body>, String> {
    let agent = agent();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let wrong = |error: ureq::http::Error| error.to_string();
    let answer = if body.is_empty() {
        agent.run(request.body(()).map_err(wrong)?)
    } else {
        agent.run(request.body(body).map_err(wrong)?)
    };
    answer.map_err(|error| error.to_string())
}

/// Asks for something that is read as it comes.
pub fn reader(method: &str, url: &str) -> impl Read + use<> {
    let response = ask(method, url, &[], b"").expect("the service answers");
    assert_eq!(response.status().as_u16(), 200);
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

/// Sends what is read from `body` as it comes, without saying how long it is.
pub fn send_from(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &mut dyn Read,
) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut body = body;
    let request = request.body(ureq::SendBody::from_reader(&mut body)).map_err(|error| error.to_string())?;
    let mut response = agent().run(request).map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec().map_err(|error| error.to_string())?;
    Ok(Answer { status, headers: Vec::new(), body })
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What it says.
    pub data: Value,
}

impl Event {
    /// The text of an output event.
    pub fn text(&self) -> &str {
        self.data["text"].as_str().unwrap_or_default()
    }
}

/// Server-sent events as they come. Dropping it closes the connection.
pub struct Stream {
    reader: BufReader<ureq::BodyReader<'static>>,
}

/// Sends a request whose answer is a stream of events.
pub fn stream(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Stream {
    let response = ask(method, url, headers, body).expect("the service answers");
    let kind = response.headers().get("content-type").map(|value| value.as_bytes().to_vec());
    assert_eq!((response.status().as_u16(), kind.as_deref()), (200, Some(&b"text/event-stream"[..])));
    Stream { reader: BufReader::new(response.into_body().into_reader()) }
}

impl Iterator for Stream {
    type Item = Event;

    /// The next event; `None` at the end of the stream.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: String::new(), kind: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).expect("the stream is not broken off") == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("data is JSON"),
                _ if line == "\n" && !event.kind.is_empty() => return Some(event),
                // A comment that keeps the connection alive.
                _ => {}
            }
        }
    }
}
