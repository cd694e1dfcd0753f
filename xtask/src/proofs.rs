//! Proofs as large as one likes: each is a test, which CI runs small.

use crate::tidy::root;
use anyhow::ensure;
use std::process::Command;

/// Builds everything, then kills `times` services under load.
pub fn crashes(times: usize) -> anyhow::Result<()> {
    prove("FIRECLAY_CRASHES", times, "api::crashes::no_acknowledged")
}

/// Builds everything, then kills `times` processes of a service under load.
pub fn kills(times: usize) -> anyhow::Result<()> {
    prove("FIRECLAY_KILLS", times, "api::kills::whoever_is_killed")
}

/// Builds everything, then has `runs` done by a cluster whose nodes and servers die.
pub fn chaos(runs: usize) -> anyhow::Result<()> {
    prove("FIRECLAY_CHAOS", runs, "cluster::chaos")
}

/// Builds everything, then measures a cluster with `runs` for each figure.
pub fn cluster_bench(runs: usize) -> anyhow::Result<()> {
    let page = root()?.join("bench/CLUSTER.md");
    prove_with(
        &[("FIRECLAY_FIGURES_PAGE", page.display().to_string())],
        "FIRECLAY_FIGURES",
        runs,
        "cluster::figures",
    )
}

/// Builds everything, then has one batch of `items` answered and looks for what it left.
pub fn batch(items: usize) -> anyhow::Result<()> {
    prove("FIRECLAY_BATCH", items, "api::batches::residue")
}

/// Runs one test alone, with the variable that it takes its size from.
fn prove(variable: &str, size: usize, test: &str) -> anyhow::Result<()> {
    prove_with(&[], variable, size, test)
}

/// The same, with more variables.
fn prove_with(more: &[(&str, String)], variable: &str, size: usize, test: &str) -> anyhow::Result<()> {
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(root()?).args(args).env(variable, size.to_string());
        command.envs(more.iter().map(|(name, value)| (name, value)));
        let status = command.status()?;
        ensure!(status.success(), "cargo {}: {status}", args.join(" "));
        anyhow::Ok(())
    };
    cargo(&["build", "--release", "--workspace", "--features", "fireclay/full", "--locked"])?;
    let all = ["test", "--release", "--locked", "-p", "fireclay-tests", "--test", "all"];
    cargo(&[&all[..], &[test, "--", "--nocapture"]].concat())
}
