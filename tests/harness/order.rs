//! What a test asks of the driver, as JSON on its standard input.

use crate::naive::Weakness;
use model::Layer;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One run, with a plan that may be weakened or failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The run.
    pub request: model::RunRequest,
    /// Input files by path and content; bytes need no encoding here.
    pub files: Vec<(String, Vec<u8>)>,
    /// Steps of the plan to leave out, by name, and parts of steps as [`crate::weaken`] knows them: the positive control of an attack.
    pub without: Vec<String>,
    /// Have a zygote fork it into the sandbox.
    pub forked: bool,
    /// Have a naive supervisor run it, with these weaknesses: the positive control of an attack on the supervisor.
    pub naive: Vec<Weakness>,
    /// Without a root of its own: a directory with `env` and `etc` that stand in their places, and are everybody's.
    pub shared: Option<PathBuf>,
    /// A step of the plan to fail.
    pub fail_at: Option<usize>,
    /// Layers that may be missing.
    pub allow_missing: Vec<Layer>,
    /// What follows the order on the driver's standard input is the program's, and its output comes as it is written, on the
    /// driver's standard error.
    pub interactive: bool,
    /// The driver holds a descriptor of the host's root that its children inherit, as a careless server would.
    pub careless: bool,
}
