//! Arguments of what stands beside a task of `fireclay agent`: documentation, and tools of other servers.

use clap::{Args, ValueEnum, ValueHint};

/// Documentation of the web.
#[derive(Debug, Args)]
pub struct DocsArguments {
    /// Documentation for the model: the page of this URL, and all pages that it leads to below its directory
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub docs: Option<String>,
    /// With --docs: how far a page may be from the first; 1 is the first alone
    #[arg(long, value_name = "N", default_value_t = 20, requires = "docs", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_depth: u32,
    /// With --docs: how the model is given it
    #[arg(long, value_name = "MODE", default_value = "auto", requires = "docs")]
    pub docs_mode: DocsMode,
    /// With --docs: tokens that it may have to be given whole; what is given for one question has a quarter of them
    #[arg(long, value_name = "N", default_value_t = 16_000, requires = "docs")]
    pub docs_tokens: usize,
    /// With --docs: its name may have a private address. An address or localhost in the URL itself needs no leave
    #[arg(long, requires = "docs")]
    pub docs_private: bool,
}

/// How a model is given documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocsMode {
    /// Whole if it fits, else by search.
    Auto,
    /// All of it with the first question.
    Whole,
    /// With each question, the parts that have most to do with it.
    Search,
    /// A list of pages; the model reads those that it wants by a tool.
    Browse,
}

/// Tools of other servers.
#[derive(Debug, Args)]
pub struct OtherServers {
    /// A server of the Model Context Protocol whose tools the model may call: the URL of one, or the command that starts it; NAME= before it
    /// names it. May be repeated
    #[arg(long = "mcp", value_name = "[NAME=]URL|COMMAND", conflicts_with = "solution")]
    pub servers: Vec<String>,
    /// A tool of these that the model may call, as NAME__TOOL, NAME__* or *; with --ask a person is asked about others, else they are not
    /// offered. May be repeated
    #[arg(long = "mcp-allow", value_name = "TOOL", requires = "servers")]
    pub allowed: Vec<String>,
    /// A variable that the commands of --mcp get besides PATH, HOME and the like; may be repeated
    #[arg(long = "mcp-env", value_name = "VARIABLE", requires = "servers")]
    pub variables: Vec<String>,
    /// The variable that has the bearer token for the server NAME, or for the one at a URL; may be repeated
    #[arg(long = "mcp-bearer", value_name = "[NAME=]VARIABLE", requires = "servers")]
    pub bearers: Vec<String>,
    /// How long a call of such a tool may take
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "servers", value_parser = model::units::parse_duration_ms)]
    pub mcp_timeout: u64,
}
