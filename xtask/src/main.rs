//! What developers run: `cargo xtask tidy`, `cargo xtask soak 10000`, `cargo xtask load 600`, `cargo xtask bench`.

mod load;
mod measure;
mod mix;
mod proofs;
mod soak;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Developer tasks of fireclay.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what no compiler does: edges between crates, file heads, test files that are not wired in, paths of one machine
    Tidy,
    /// Make many mixed runs with attacks among them, and show that nothing is left
    Soak {
        /// How many runs
        #[arg(default_value_t = 1000)]
        runs: usize,
        /// Where the image is
        #[arg(long, default_value = "target/soak-data")]
        data: PathBuf,
    },
    /// Keep a service at twice what it can do with attacks among the runs, and show that nothing is lost, crossed or left
    Load {
        /// How long
        #[arg(default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400))]
        seconds: u64,
        /// Where the image is
        #[arg(long, default_value = "target/soak-data")]
        data: PathBuf,
    },
    /// Kill a service under load, again and again, and show that nothing acknowledged is lost and nothing is left
    Crashes {
        /// How often
        #[arg(default_value_t = 100)]
        times: usize,
    },
    /// Kill spawners, zygotes, keepers, inits and services at random under load, and show that every run has a true fate
    Kills {
        /// How often
        #[arg(default_value_t = 100)]
        times: usize,
    },
    /// Kill, stop and cut off nodes and servers of a cluster at random, and show that every run has its own answer, once
    Chaos {
        /// How many runs
        #[arg(default_value_t = 20_000)]
        runs: usize,
    },
    /// Measure what a cluster costs and gives, and write `bench/CLUSTER.md`
    ClusterBench {
        /// How many runs each figure is made from
        #[arg(default_value_t = 100)]
        runs: usize,
    },
    /// Have one large batch answered by a service, and show that it is whole, in order, and leaves nothing
    Batch {
        /// How many items
        #[arg(default_value_t = 10_000)]
        items: usize,
    },
    /// Build, and measure this machine: `fireclay bench` with these arguments
    #[command(disable_help_flag = true)]
    Bench {
        /// As `fireclay bench --help` says
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Tidy => tidy::tidy(),
        Task::Soak { runs, data } => soak::soak(runs, &data),
        Task::Load { seconds, data } => load::load(seconds, &data),
        Task::Crashes { times } => proofs::crashes(times),
        Task::Kills { times } => proofs::kills(times),
        Task::Chaos { runs } => proofs::chaos(runs),
        Task::ClusterBench { runs } => proofs::cluster_bench(runs),
        Task::Batch { items } => proofs::batch(items),
        Task::Bench { arguments } => measure::measure(&arguments),
    }
}
