//! One attack: in a sandbox as it ships, and in one without the walls that stop it.

use fireclay_tests::census::{self, Report};
use fireclay_tests::run::{Ran, driver, feed, result_in};
use fireclay_tests::{Bystander, Canaries, Order, image};
use model::limits::LimitsPatch;
use model::{Layer, Policy, RunRequest, RunResult};
use std::sync::{Mutex, PoisonError};
use worker::battery::{Attack, BREACH, Verdict, breaches, verdict};

/// What a run may take beyond its deadline.
const GRACE_MS: u64 = 100;
/// What the process that supervises a run may ever have resident, whatever the code says and does.
const SUPERVISOR_BYTES: u64 = 32 << 20;
/// How often what is kept of the output may be in memory: as it came and as text, of each stream, and as JSON.
const COPIES: u64 = 6;

/// What the supervisor says of an init that died after the program had started.
const KILLED: &str = "init died under the run";

/// Stands for the limits that an attack asks for: without them it has those of anybody.
const LIMITS: &str = "limits";

/// Held by whoever has a neighbour in the host's own namespaces, where there is one port and one key for all.
static HOST: Mutex<()> = Mutex::new(());

/// What came of an attack.
pub struct Came {
    /// What is wrong; empty if it was held off.
    pub wrong: Vec<String>,
    /// Figures for people.
    pub note: String,
}

/// Runs an attack as it stands. Names all that is wrong: with its result, or left on the machine.
pub fn held_off(attack: &Attack, canaries: &Canaries) -> Came {
    let before = census::files(image());
    let ran = run(attack, &[], canaries);
    let (result, report) = (result_in(&ran), report_in(&ran));
    let mut wrong = Vec::new();
    match verdict(attack, &result) {
        Verdict::Held => {}
        Verdict::Breached(what) => wrong.push(format!("breached: {what}")),
        Verdict::Inconclusive(why) => wrong.push(format!("inconclusive: {why}")),
    }
    if let Some(word) = canaries.seen_in(&ran.stdout) {
        wrong.push(format!("{word} was seen"));
    }
    let limits = Policy::DEFAULT.limits.narrowed(&attack.limits, &Policy::DEFAULT.ceiling);
    if result.usage.wall_ms > limits.timeout_ms + GRACE_MS {
        wrong.push(format!("took {} ms of {}", result.usage.wall_ms, limits.timeout_ms));
    }
    if report.peak_bytes > SUPERVISOR_BYTES + COPIES * limits.output_bytes {
        wrong.push(format!("the supervisor grew to {} MiB", report.peak_bytes >> 20));
    }
    wrong.extend(report.left.iter().map(|thing| format!("the supervisor is left with {thing}")));
    wrong.extend(census::files(image()).difference(&before).map(|path| format!("left {}", path.display())));
    let usage = &result.usage;
    let after_ms = report.whole_ms.saturating_sub(usage.wall_ms);
    let note = format!(
        "{} ms and {after_ms} ms around it, supervisor {} KiB",
        usage.wall_ms,
        report.peak_bytes >> 10
    );
    if !wrong.is_empty() {
        wrong.push(format!("it printed: {}", shown(&result)));
    }
    Came { wrong, note }
}

/// Runs an attack without these steps: it must succeed, or it shows nothing. Says what worked, or what it printed instead.
pub fn succeeds_without(attack: &Attack, steps: &[&str], canaries: &Canaries) -> Result<String, String> {
    // A namespace that an attack reaches through is one that it shares with a neighbour.
    let lacks = |layer: Layer| steps.contains(&layer.name());
    let shared = lacks(Layer::Netns) || lacks(Layer::Ipcns);
    let _alone = shared.then(|| HOST.lock().unwrap_or_else(PoisonError::into_inner));
    let neighbour = shared.then(|| Bystander::start(canaries, steps));
    let ran = run(attack, steps, canaries);
    drop(neighbour);
    let (result, report) = (result_in(&ran), report_in(&ran));
    // A job whose streams were not replaced writes to the driver's own.
    let aside = ran.stdout.lines().filter(|line| line.starts_with(BREACH));
    if let Some(breach) = breaches(&result).into_iter().chain(aside).next() {
        return Ok(breach.to_owned());
    }
    // Who can kill its init takes the whole sandbox down, and who outlives it is its supervisor's child then. Only without a
    // namespace of processes: otherwise a fault is a plan that does not work, and no proof.
    let killed =
        result.fault.as_ref().filter(|fault| fault.message == KILLED).map(|fault| fault.message.clone());
    let outlived = report.left.into_iter().find(|thing| thing.starts_with("child "));
    killed.or(outlived).filter(|_| lacks(Layer::Pidns)).ok_or_else(|| {
        format!("the control, without {}, shows nothing: {}{}", steps.join(" "), shown(&result), ran.stderr)
    })
}

fn run(attack: &Attack, without: &[&str], canaries: &Canaries) -> Ran {
    let by_default = LimitsPatch { timeout_ms: attack.limits.timeout_ms, ..LimitsPatch::default() };
    let order = Order {
        request: RunRequest {
            language: Some(attack.language),
            code: attack.code.to_owned(),
            limits: if without.contains(&LIMITS) { by_default } else { attack.limits },
            ..RunRequest::default()
        },
        without: without.iter().map(|step| (*step).to_owned()).collect(),
        careless: true,
        ..Order::default()
    };
    let json = serde_json::to_vec(&order).expect("an order is plain data");
    let mut command = driver();
    command.arg(canaries.word("argument")).env("CANARY", canaries.word("environment"));
    feed(&mut command, &json)
}

/// What an attack prints without these steps, all of it.
pub fn output_without(attack: &Attack, steps: &[&str], canaries: &Canaries) -> String {
    run(attack, steps, canaries).stdout
}

fn report_in(ran: &Ran) -> Report {
    let last = ran.stderr.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Enough of a result to see what happened.
fn shown(result: &RunResult) -> String {
    let cut = |text: &str| -> String { text.chars().take(800).collect() };
    let end =
        format!("{:?} {:?} {:?} {:?}", result.outcome, result.exit_code, result.signal, result.limits_hit);
    format!("{end} {:?}\n{}{}", result.fault, cut(&result.stdout), cut(&result.stderr))
}
