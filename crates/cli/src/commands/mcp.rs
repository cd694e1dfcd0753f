//! `fireclay mcp`: the tools for a client that speaks MCP over standard input and output, until it closes our input.
//!
//! Nothing is run here: a service does that: the one of the data directory, or this user's local server, which others use too and which outlives us.

mod elsewhere;

use crate::args::McpArguments;
use crate::env::Settings;
use anyhow::Context;
use elsewhere::Elsewhere;
use std::sync::Arc;

/// Serves one client.
pub fn mcp(arguments: &McpArguments, settings: &Settings) -> anyhow::Result<u8> {
    let key = arguments.key.clone().or_else(|| settings.api_key.clone());
    let url = arguments.url.as_ref().or(settings.url.as_ref());
    let service = Arc::new(match url {
        Some(url) => Elsewhere::at(url, key)?,
        None => Elsewhere::of(settings, key),
    });
    let usual = arguments.usual.fields()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    let done = runtime.block_on(async {
        // The first call should not be the one that waits for it.
        let early = service.clone();
        let starting = tokio::spawn(async move { early.start_early().await });
        let done = mcp::serve_stdio(service.clone(), usual).await;
        starting.abort();
        done
    });
    // Reading standard input cannot be interrupted; nothing of ours waits for it.
    runtime.shutdown_background();
    done.context("speak to the client")?;
    Ok(0)
}
