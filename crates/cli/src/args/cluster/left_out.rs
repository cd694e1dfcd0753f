//! The commands on many machines, of a build without them.

use super::left_out::LeftOut;
use clap::Subcommand;

/// The commands on many machines.
#[derive(Debug, Subcommand)]
pub enum ManyCommand {
    /// Write the configuration and credentials of a cluster of many machines (not in this build)
    Cluster(LeftOut),
    /// List, show, cordon or drain the machines of a cluster (not in this build)
    Nodes(LeftOut),
    /// Do runs of a cluster on this machine (not in this build)
    Worker(LeftOut),
}
