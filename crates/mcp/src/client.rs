//! The tools of other servers, for an agent: over HTTP, or of a program that is started for it and ends with it.
//!
//! A server is a stranger. What it says is bounded here and otherwise left as it is; whoever shows it makes it harmless. It is asked for
//! tools and nothing else: what it asks for itself (samples, roots, answers of a person) is declined.

mod http;
mod process;

pub use process::Command;

use http::Http;
use process::Process;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, PaginatedRequestParams, ResourceContents,
};
use rmcp::serve_client;
use rmcp::service::{RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Map, Value};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server has to begin, and to name its tools.
const BEGINNING: Duration = Duration::from_secs(30);
/// How long it has to close a session.
const CLOSING: Duration = Duration::from_secs(1);
/// Most tools of a server that are taken, and most pages of their list.
const TOOLS_MAX: usize = 128;
const PAGES_MAX: usize = 32;
/// Longest name, description and schema of a tool, in bytes; one that is longer is left out, but for a description, which is cut.
const NAME_BYTES_MAX: usize = 128;
const DESCRIPTION_BYTES_MAX: usize = 2_000;
const SCHEMA_BYTES_MAX: usize = 16 << 10;

/// Where a server is. It has no `Debug`: keys are in it.
#[derive(Clone)]
pub enum Place {
    /// At a URL, by streamable HTTP (MCP 2025-03-26 and later), with a token that says who asks (RFC 6750 §2.1) or without.
    Url(String, Option<String>),
    /// Of this command, over its standard input and output.
    Command(Command),
}

/// Why there is no server, or no answer of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It is not there, or does not speak the protocol.
    #[error("{0}")]
    Unusable(String),
    /// It refuses a call, or has gone.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("there was no answer in {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TheirTool {
    /// Its name there.
    pub name: String,
    /// What it says that it does; at most 2,000 bytes.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirAnswer {
    /// Its texts; what is none is named.
    pub text: String,
    /// Whether it says that it failed.
    pub failed: bool,
}

/// A server that was begun with. Dropping it ends its process.
pub struct Connection {
    // Dropped in `drop`, in this order.
    service: Option<RunningService<RoleClient, ()>>,
    process: Option<Process>,
    runtime: Option<Runtime>,
    tools: Vec<TheirTool>,
}

impl Connection {
    /// Begins with a server and reads which tools it has.
    ///
    /// # Errors
    /// [`ClientError::Unusable`] with what it said on standard error; it has 30 seconds.
    pub fn open(place: &Place) -> Result<Self, ClientError> {
        let unusable = |error: &dyn std::fmt::Display| ClientError::Unusable(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| unusable(&error))?;
        let mut connection = Self { service: None, process: None, runtime: Some(runtime), tools: Vec::new() };
        let Err(error) = connection.begin(place) else { return Ok(connection) };
        // What it said last says best why it does not serve.
        connection.close();
        let said = connection.process.as_mut().map(Process::last_words).unwrap_or_default();
        Err(match said.trim() {
            "" => error,
            said => ClientError::Unusable(format!("{error}; it said: {said}")),
        })
    }

    fn begin(&mut self, place: &Place) -> Result<(), ClientError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let unusable = |error: &dyn std::fmt::Display| ClientError::Unusable(error.to_string());
        let until = Instant::now() + BEGINNING;
        let left = || until.saturating_duration_since(Instant::now());
        let late = |_| ClientError::TimedOut(BEGINNING);
        let begun = match place {
            Place::Url(url, bearer) => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                config.allow_stateless = true;
                config.auth_header.clone_from(bearer);
                let http = Http::new();
                runtime.block_on(async {
                    let transport = StreamableHttpClientTransport::with_client(http, config);
                    tokio::time::timeout(left(), serve_client((), transport)).await
                })
            }
            Place::Command(command) => {
                let mut process = Process::start(command).map_err(|error| unusable(&error))?;
                let pipes = runtime.block_on(async { process.pipes() });
                self.process = Some(process);
                let pipes = pipes.map_err(|error| unusable(&error))?;
                runtime.block_on(async { tokio::time::timeout(left(), serve_client((), pipes)).await })
            }
        };
        let service = begun.map_err(late)?.map_err(|error| unusable(&error))?;
        let listed = runtime.block_on(async { tokio::time::timeout(left(), tools_of(&service)).await });
        self.service = Some(service);
        self.tools = listed.map_err(late)?.map_err(|error| unusable(&error))?;
        Ok(())
    }

    /// Its tools, at most 128.
    #[must_use]
    pub fn tools(&self) -> &[TheirTool] {
        &self.tools
    }

    /// Calls a tool, for at most `patience`, or until `stop` says so; then the server is told that nobody waits any more.
    ///
    /// # Errors
    /// [`ClientError`], of which none means that the tool did nothing.
    pub fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<TheirAnswer, ClientError> {
        let (Some(runtime), Some(service)) = (&self.runtime, &self.service) else {
            return Err(ClientError::Refused("the server has gone".to_owned()));
        };
        let until = Instant::now() + patience;
        runtime.block_on(async {
            let asked = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
            let mut call = pin!(service.peer().call_tool(asked));
            loop {
                match tokio::time::timeout(LOOK, &mut call).await {
                    Ok(Ok(result)) => return Ok(answer_of(result)),
                    Ok(Err(error)) => return Err(ClientError::Refused(error.to_string())),
                    Err(_) if stop() => return Err(ClientError::Stopped),
                    Err(_) if Instant::now() >= until => return Err(ClientError::TimedOut(patience)),
                    Err(_) => {}
                }
            }
        })
    }
}

impl Connection {
    /// Closes its pipes.
    fn close(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(mut service) = self.service.take() {
            // Closing ends its input, by which a well-behaved program ends itself; one that does not is killed below.
            drop(runtime.block_on(async { tokio::time::timeout(CLOSING, service.close()).await }));
        }
        runtime.shutdown_background();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
        drop(self.process.take());
    }
}

async fn tools_of(service: &RunningService<RoleClient, ()>) -> Result<Vec<TheirTool>, ServiceError> {
    let mut tools = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let asked = PaginatedRequestParams::default().with_cursor(cursor);
        let page = service.peer().list_tools(Some(asked)).await?;
        for tool in page.tools {
            let description = tool.description.unwrap_or_default();
            let most = description.floor_char_boundary(DESCRIPTION_BYTES_MAX);
            let schema = Value::Object(tool.input_schema.as_ref().clone());
            let fits = !tool.name.is_empty()
                && tool.name.len() <= NAME_BYTES_MAX
                && schema.to_string().len() <= SCHEMA_BYTES_MAX;
            if fits && tools.len() < TOOLS_MAX {
                tools.push(TheirTool {
                    name: tool.name.into_owned(),
                    description: description[..most].to_owned(),
                    schema,
                });
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() || tools.len() >= TOOLS_MAX {
            break;
        }
    }
    Ok(tools)
}

/// The texts of a result. One without text has its structured value.
fn answer_of(result: CallToolResult) -> TheirAnswer {
    let mut parts: Vec<String> = result
        .content
        .into_iter()
        .map(|block| match block {
            ContentBlock::Text(text) => text.text,
            ContentBlock::Image(image) => format!("[an image, {}, is not shown]", image.mime_type),
            ContentBlock::Audio(audio) => format!("[a sound, {}, is not played]", audio.mime_type),
            ContentBlock::ResourceLink(link) => format!("[see {}]", link.uri),
            ContentBlock::Resource(embedded) => match embedded.resource {
                ResourceContents::TextResourceContents { uri, text, .. } => format!("[{uri}]\n{text}"),
                ResourceContents::BlobResourceContents { uri, .. } => {
                    format!("[{uri} is no text, and not shown]")
                }
                _ => "[something that is not known is not shown]".to_owned(),
            },
            _ => "[something that is not known is not shown]".to_owned(),
        })
        .collect();
    if parts.is_empty()
        && let Some(value) = result.structured_content
    {
        parts.push(value.to_string());
    }
    TheirAnswer { text: parts.join("\n"), failed: result.is_error == Some(true) }
}
