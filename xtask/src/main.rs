//! What developers run: `cargo xtask tidy`, `cargo xtask soak 10000`, `cargo xtask bench`.

mod bench;
mod proofs;
mod soak;
mod tidy;
mod warm;

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
    /// Kill a service under load, again and again, and show that nothing acknowledged is lost and nothing is left
    Crashes {
        /// How often
        #[arg(default_value_t = 100)]
        times: usize,
    },
    /// Have one large batch answered by a service, and show that it is whole, in order, and leaves nothing
    Batch {
        /// How many items
        #[arg(default_value_t = 10_000)]
        items: usize,
    },
    /// Compare requests to a service with bare interpreters spawned in the same run
    Warm {
        /// How many rounds of one client
        #[arg(long, default_value_t = 200)]
        rounds: usize,
        /// How long with many clients
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Compare whole-process times of `fireclay run`, the bare interpreter and bubblewrap, interleaved
    Bench {
        /// How many rounds
        #[arg(long, default_value_t = 60)]
        rounds: usize,
        /// Where the image is
        #[arg(long, default_value = "target/bench-data")]
        data: PathBuf,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Tidy => tidy::tidy(),
        Task::Soak { runs, data } => soak::soak(runs, &data),
        Task::Crashes { times } => proofs::crashes(times),
        Task::Batch { items } => proofs::batch(items),
        Task::Warm { rounds, seconds, json } => warm::bench(rounds, seconds, json),
        Task::Bench { rounds, data, json } => bench::bench(rounds, &data, json),
    }
}
