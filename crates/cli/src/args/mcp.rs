//! Arguments of `fireclay mcp`.

use super::UsualArguments;
use clap::{Args, ValueHint};

/// Arguments of `fireclay mcp`.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the service of the data directory, which is started if there is none (`fireclay local --help`). Ends when standard input does.
A running service has the same tools at /mcp, for clients that speak MCP over HTTP.")]
pub struct McpArguments {
    /// A service to ask, such as http://127.0.0.1:8000 [default: FIRECLAY_URL, else the data directory's]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// The key for it [default: FIRECLAY_API_KEY, which other users of this machine cannot see]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Of every fresh sandbox, and every session that is opened.
    #[command(flatten)]
    pub usual: UsualArguments,
}
