//! The server of the protocol, as rmcp calls it. It keeps nothing between calls but who is opening a session right now.

use crate::answer::refused;
use crate::api::{Api, Asker, Refusal};
use crate::resources::{read_resource, templates};
use crate::sessions::Openings;
use crate::tools::{INSTRUCTIONS, TOOLS};
use axum::http::request::Parts;
use model::request::usual_of;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProgressToken,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every connection shares.
#[derive(Clone)]
pub struct Handler {
    api: Arc<dyn Api>,
    openings: Arc<Openings>,
    usual: Arc<Map<String, Value>>,
}

/// One call of a tool.
pub struct Call {
    /// Asks the API as the caller.
    pub asker: Asker,
    /// What the client calls itself.
    pub client: String,
    /// Fires when the client takes the call back or goes away.
    pub cancelled: CancellationToken,
    /// Whom to tell of progress, if anybody wants to know.
    pub progress: Option<(Peer<RoleServer>, ProgressToken)>,
    /// Sessions that are being opened.
    pub openings: Arc<Openings>,
    /// Fields of requests that do not say them.
    pub usual: Arc<Map<String, Value>>,
}

impl Handler {
    /// A server of tools that ask this API.
    pub fn new(api: Arc<dyn Api>) -> Self {
        Self { api, openings: Arc::default(), usual: Arc::default() }
    }

    /// The same, where fresh runs and new sessions have these fields if they do not say them.
    pub fn with_usual(self, usual: Map<String, Value>) -> Self {
        Self { usual: Arc::new(usual), ..self }
    }

    fn asker(&self, context: &RequestContext<RoleServer>) -> Asker {
        // Over HTTP each message comes with the head of its own request; over standard input there is none.
        let headers = context.extensions.get::<Parts>().map(|parts| &parts.headers);
        Asker::new(self.api.clone(), headers)
    }

    fn call(&self, context: &RequestContext<RoleServer>) -> Call {
        Call {
            asker: self.asker(context),
            client: context.client_info().map(|client| client.name).unwrap_or_default(),
            cancelled: context.ct.clone(),
            progress: context.meta.get_progress_token().map(|token| (context.peer.clone(), token)),
            openings: self.openings.clone(),
            usual: self.usual.clone(),
        }
    }
}

/// Reads arguments. What is wrong with them is told to the model, which can do better, and not as an error of the protocol.
fn parse<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, Refusal> {
    // Some models say `null` for what they leave out.
    let said = arguments.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null()).collect();
    serde_json::from_value(Value::Object(said)).map_err(|error| {
        Refusal::new(format!("the arguments cannot be used: {error} (tools/list has the schema)"))
    })
}

/// What runs have of their own, in a session too.
pub const OF_RUNS: [&str; 6] = ["auto_packages", "check", "check_policy", "check_rules", "offline", "review"];
/// How code is checked before it is run.
const OF_CHECK: [&str; 3] = ["check", "check_policy", "check_rules"];

impl Call {
    /// Adds what is usual to a request that does not say it, as far as it is wanted there. How code is read before it is run is for whoever
    /// set this up to say, if they said anything, and not for the model.
    pub fn complete(&self, request: &mut Value, wanted: impl Fn(&str) -> bool) {
        let Value::Object(fields) = request else { return };
        if OF_CHECK.iter().any(|name| self.usual.contains_key(*name)) {
            // All of it: a policy or a rule of the model's own would make less of the mode that was said.
            fields.retain(|name, _| !OF_CHECK.contains(&name.as_str()));
        }
        let language = fields.get("language").and_then(Value::as_str).map(str::to_owned);
        for (name, value) in usual_of(language.as_deref(), &*self.usual) {
            if !wanted(name) {
                continue;
            }
            if name == "review" || !fields.contains_key(name) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
    }

    /// Does what a tool does; `None` if there is no such tool.
    async fn dispatch(
        &self,
        name: &str,
        arguments: Option<JsonObject>,
    ) -> Option<Result<CallToolResult, Refusal>> {
        macro_rules! table {
            ($($tool:ident)*) => {
                match name {
                    $(stringify!($tool) => Some(match parse(arguments) {
                        Ok(parsed) => self.$tool(parsed).await,
                        Err(refusal) => Err(refusal),
                    }),)*
                    _ => None,
                }
            };
        }
        table! {
            run_code run_shell read_file write_file list_files list_packages create_session close_session list_sessions
        }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let implementation = Implementation::new("fireclay", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(implementation).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        TOOLS.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = self.call(&context);
        match call.dispatch(&request.name, request.arguments).await {
            Some(done) => Ok(done.unwrap_or_else(refused).into()),
            None => Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None)),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::default())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match read_resource(&self.asker(&context), &request.uri).await {
            Ok(Some(found)) => Ok(found.into()),
            Ok(None) => {
                Err(ErrorData::resource_not_found(format!("there is nothing at {}", request.uri), None))
            }
            Err(refusal) => Err(ErrorData::internal_error(refusal.text, refusal.problem)),
        }
    }
}
