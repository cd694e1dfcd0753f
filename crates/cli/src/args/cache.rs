//! Arguments of `fireclay cache`.

use clap::{Args, Subcommand};
use model::units;

/// Arguments of `fireclay cache`.
#[derive(Debug, Args)]
#[command(after_help = "\
Packages that runs and sessions asked for are installed once and kept, each tenant's apart, in the data directory. Those that were not
used for longest go by themselves when all take more than `packages.cache_bytes`. Toolchains of declared languages are removed with all packages, if
no service uses them.")]
pub struct CacheArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// The commands on installed packages.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is installed, most lately used first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what was not used for longest; what a sandbox uses stays, and while a service runs what one used within the last 15 minutes
    Prune {
        /// How much may stay
        #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, default_value = "0")]
        keep: u64,
    },
}
