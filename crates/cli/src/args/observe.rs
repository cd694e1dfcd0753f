//! Arguments of `fireclay observe` and `fireclay top`.

use clap::{Args, Subcommand, ValueHint};
use std::net::IpAddr;

/// The commands that show what runs and ran.
#[derive(Debug, Subcommand)]
pub enum SeeCommand {
    /// Look at what ran on this machine, in a browser
    Observe(ObserveArguments),
    /// Look at what a service does now, in the terminal
    Top(TopArguments),
}

/// Arguments of `fireclay top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs in a second, how long they took, how they ended, places, pool, sessions, memory, and what failed lately. The numbers of traces are of the
last five minutes. `q` or Ctrl-C quits. A key of a tenant sees its own traces, and nothing of the machine. Without a terminal, or on one
that obeys no control sequences (TERM=dumb), each view is written below the one before.")]
pub struct TopArguments {
    /// A service to look at, such as http://127.0.0.1:8000 [default: FIRECLAY_URL, else the data directory's]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Show one view and end
    #[arg(long)]
    pub once: bool,
    /// As JSON, one line for each view
    #[arg(long)]
    pub json: bool,
}

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
