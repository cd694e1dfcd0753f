//! Takes walls out of a plan, by name, so that an attack can show that it would have worked.

use model::Layer;
use sandbox::plan::{Action, Plan};

/// Directories and bytes without bound, as far as an attack of a test goes.
const UNBOUNDED: u64 = 1 << 40;

/// The plan without the steps of these names. Three names stand for a part of a step: a namespace by its layer (`netns`),
/// `scratch-bounds` for the size of the scratch file system, `cpu-bound` for the share of processors.
pub fn weaken(plan: Plan, names: &[&str]) -> Plan {
    let has = |name: &str| names.contains(&name);
    let mut plan = plan.without(names);
    for step in &mut plan.steps {
        match &mut step.action {
            Action::CloneInit { namespaces } => namespaces.retain(|layer: &Layer| !has(layer.name())),
            Action::MountScratch { bytes, inodes } if has("scratch-bounds") => {
                (*bytes, *inodes) = (UNBOUNDED, UNBOUNDED)
            }
            Action::CreateCgroup(limits) if has("cpu-bound") => limits.cpus = 1024.0,
            _ => {}
        }
    }
    plan
}
