//! The protocol over standard input and output: for a client that starts us and ends us by closing our input.

use crate::api::Api;
use crate::handler::Handler;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rmcp::ServiceExt;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Serves one client until its end of the pipe is closed. Fresh runs, and sessions that are opened, have the fields of `usual` that they do
/// not say.
///
/// # Errors
/// If the client does not begin as the protocol wants it.
pub fn serve_stdio(api: Arc<dyn Api>, usual: Map<String, Value>) -> BoxFuture<'static, std::io::Result<()>> {
    async move {
        let serving = Handler::new(api).with_usual(usual).serve(rmcp::transport::io::stdio()).await;
        match serving {
            Ok(serving) => serving.waiting().await.map(drop).map_err(std::io::Error::other),
            // It went away before it said anything: that is no failure of ours.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }
    .boxed()
}
