//! Arguments of `fireclay local`.

use clap::{Args, Subcommand};

/// Arguments of `fireclay local`.
#[derive(Debug, Args)]
#[command(after_help = "\
The local server is for programs of one user: `fireclay session`, `fireclay mcp` and `Fireclay()` of the Python SDK start it by themselves.
It ends when nothing runs, no session is open and nobody has asked it anything for ten minutes (FIRECLAY_LOCAL_IDLE_MS).
A service that was started by hand on the same data directory, by `fireclay serve`, is used in its place.")]
pub struct LocalArguments {
    /// As JSON, with the token that it wants as its key
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do with it.
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// The commands on the local server.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start it unless it runs, and print where it is
    Start,
    /// Print where it is; exit code 1 if none runs
    Status,
    /// End it: its runs may go on for a while, its sessions end, and their files are kept
    Stop,
}
