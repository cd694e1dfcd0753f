//! Commands that this build leaves out, so that it says so.

use clap::Args;
use model::Rejection;

/// Whatever is said to a command that is not there.
#[derive(Debug, Args)]
pub struct LeftOut {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _said: Vec<String>,
}

/// Says how to get what this build leaves out.
pub fn left_out(feature: &str) -> anyhow::Error {
    let hint = format!("build one that has it: cargo install --path crates/cli --features {feature}");
    Rejection::new("COMMAND", format!("this build has no {feature}"), hint).into()
}
