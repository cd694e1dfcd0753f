//! `cargo xtask bench`: builds the program, then has it measure this machine.

use crate::tidy::root;
use anyhow::ensure;
use std::process::Command;

/// Runs `fireclay bench` with these arguments, on a data directory below `target/` unless they name another.
pub fn measure(arguments: &[String]) -> anyhow::Result<()> {
    let root = root()?;
    let built = Command::new("cargo")
        .current_dir(&root)
        .args(["build", "--release", "--features", "fireclay/full", "--locked"])
        .status()?;
    ensure!(built.success(), "cargo build: {built}");
    let mut command = Command::new(root.join("target/x86_64-unknown-linux-gnu/release/fireclay"));
    command.arg("bench").args(arguments).env("FIRECLAY_DATA", root.join("target/bench-data"));
    let status = command.status()?;
    ensure!(status.success(), "fireclay bench: {status}");
    Ok(())
}
