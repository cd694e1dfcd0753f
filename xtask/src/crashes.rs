//! Kills a service under load as often as one likes: the loop itself is a test, which CI runs a few times.

use crate::tidy::root;
use anyhow::ensure;
use std::process::Command;

/// Builds everything, then kills `times` services.
pub fn crashes(times: usize) -> anyhow::Result<()> {
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(root()?).args(args).env("FIRECLAY_CRASHES", times.to_string());
        let status = command.status()?;
        ensure!(status.success(), "cargo {}: {status}", args.join(" "));
        anyhow::Ok(())
    };
    cargo(&["build", "--release", "--workspace", "--locked"])?;
    let test = ["test", "--release", "--locked", "-p", "fireclay-tests", "--test", "all"];
    cargo(&[&test[..], &["api::crashes::no_acknowledged", "--", "--nocapture"]].concat())
}
