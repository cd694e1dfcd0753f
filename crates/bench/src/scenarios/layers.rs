//! What each layer of isolation costs: the same zygote's fork into sandboxes that lack one layer each, in turns with one that has all.

use crate::engine::{Engine, Phases};
use crate::report::{Row, Table};
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use anyhow::Context;
use model::Layer;
use sandbox::cgroup::Leaf;
use sandbox::plan::{Action, Plan};

/// Rounds that only fill caches.
const SKIPPED: usize = 5;

/// A layer, the steps that build it, and the namespace that it is, if it is one.
struct Without {
    name: &'static str,
    steps: &'static [&'static str],
    namespace: Option<Layer>,
}

const fn steps(name: &'static str, steps: &'static [&'static str]) -> Without {
    Without { name, steps, namespace: None }
}

/// What can be left out, one at a time. User, PID and mount namespace, the image and the scratch file system cannot: without them
/// there is no sandbox to fork into. Nor can no_new_privs, without which no filter is installed.
const WITHOUT: [Without; 13] = [
    steps("system-call filters", &["seccomp", "filter-init"]),
    steps("Landlock", &["landlock", "offer-landlock"]),
    steps("capabilities dropped", &["drop-capabilities"]),
    steps("control group", &["create-cgroup", "join-cgroup", "unshare-cgroup"]),
    steps("control group namespace", &["unshare-cgroup"]),
    Without { name: "network namespace", steps: &["loopback-up"], namespace: Some(Layer::Netns) },
    Without { name: "IPC namespace", steps: &[], namespace: Some(Layer::Ipcns) },
    Without { name: "host name namespace", steps: &["set-host-name"], namespace: Some(Layer::Utsns) },
    steps("covers of /proc", &["mask-proc", "verify-mounts"]),
    steps("check of mounts", &["verify-mounts"]),
    steps("further namespaces forbidden", &["forbid-namespaces"]),
    steps("per-process limits", &["lower-limits"]),
    steps("keyring of its own", &["new-keyring"]),
];

impl Without {
    fn amend(&self, plan: Plan) -> Plan {
        let mut plan = plan.without(self.steps);
        for step in &mut plan.steps {
            if let Action::CloneInit { namespaces } = &mut step.action {
                namespaces.retain(|layer| Some(*layer) != self.namespace);
            }
        }
        plan
    }
}

/// One plan, and its times.
struct Variant<'a> {
    name: String,
    amend: Box<dyn Fn(Plan) -> Plan + 'a>,
    spare: Option<Leaf>,
    build: Times,
    run: Times,
    end: Times,
    whole: Times,
}

impl<'a> Variant<'a> {
    fn new(name: String, amend: impl Fn(Plan) -> Plan + 'a) -> Self {
        let times = Times::default;
        Self {
            name,
            amend: Box::new(amend),
            spare: None,
            build: times(),
            run: times(),
            end: times(),
            whole: times(),
        }
    }

    fn add(&mut self, phases: Phases) {
        let Phases { build, run, end } = phases;
        self.build.push(build);
        self.run.push(run);
        self.end.push(end);
        self.whole.push(build + run + end);
    }

    fn figures(&self) -> [Option<f64>; 4] {
        [self.build.p50(), self.run.p50(), self.end.p50(), self.whole.p50()]
    }
}

/// One row for each layer.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds;
    let title = format!("what a run takes without a layer, {rounds} rounds in turns, medians; {}", machine());
    let columns = ["build ms", "run ms", "end ms", "whole ms", "layer costs ms", "in the run ms"];
    let mut table = Table::new(Scenario::Layers, title, &columns);
    let engine = match Engine::start(&bench.options.data)? {
        Ok(engine) => engine,
        Err(why) => {
            table.rows.push(Row::absent("all layers", why));
            return Ok(table);
        }
    };
    say(&format!("layers, {} plans", WITHOUT.len() + 2));
    let all = |plan: Plan| WITHOUT.iter().fold(plan, |plan, without| without.amend(plan));
    let mut variants = vec![Variant::new("all layers".into(), |plan| plan)];
    for without in &WITHOUT {
        variants.push(Variant::new(format!("- {}", without.name), |plan| without.amend(plan)));
    }
    variants.push(Variant::new("- all of these".into(), all));
    for round in 0..rounds + SKIPPED {
        for variant in &mut variants {
            let phases = engine.run(&variant.amend, &mut variant.spare);
            let phases = phases.with_context(|| format!("run {:?}", variant.name))?;
            if round >= SKIPPED {
                variant.add(phases);
            }
        }
    }
    let Some(all) = variants.first() else { return Ok(table) };
    for (index, variant) in variants.iter().enumerate() {
        let costs = [all.whole.p50_above(&variant.whole), all.run.p50_above(&variant.run)];
        let costs = costs.map(|cost| cost.filter(|_| index > 0));
        table.rows.push(Row::of(variant.name.clone(), variant.figures().into_iter().chain(costs).collect()));
    }
    table.notes.push("what a layer costs is the median of the differences of pairs: the run with all layers and the one without in the same turn".into());
    table.notes.push(
        "a service builds before the run comes and takes down after the answer: only `run` is waited for"
            .into(),
    );
    table.notes.push("one thread, one sandbox at a time; what the kernel does later (it frees a network namespace in the background) is not in it".into());
    Ok(table)
}
