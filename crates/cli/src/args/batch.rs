//! Arguments of `fireclay batch`.

use super::UsualArguments;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Arguments of `fireclay batch`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --out, lines are appended as items are done; the same command again does what is left, and what failed by a fault that may pass.
Exit codes: 0 every item has an answer, 1 some failed by a fault of ours, 2 some lines or the whole were rejected")]
pub struct BatchArguments {
    /// One item in each line, as POST /v1/batches takes them; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// Where answers are appended [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Runs at once [default: as many as keep the machine busy]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Run identical items once
    #[arg(long)]
    pub dedupe: bool,
    /// A service to ask [default: the one that serves the data directory, or none]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The variable that holds the key for it
    #[arg(long, value_name = "NAME", default_value = "FIRECLAY_API_KEY")]
    pub api_key_env: String,
    /// Of items that do not say it.
    #[command(flatten)]
    pub usual: UsualArguments,
}
