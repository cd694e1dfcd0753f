//! Arguments of `fireclay observe`.

use clap::Args;
use std::net::IpAddr;

/// Arguments of `fireclay observe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Opens the console on what ran on this machine: by `fireclay run`, `batch` and `agent`, and by services on this data directory. The server that
is started for it ends as every local server does (`fireclay local`).")]
pub struct ObserveArguments {
    /// Where a server that is started listens
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// On which port; 0 is any that is free
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// As JSON, with the token that it wants as its key
    #[arg(long)]
    pub json: bool,
}
