//! One attack: in a sandbox as it ships, and against less than what stops it.

use fireclay_tests::census::{self, Report};
use fireclay_tests::naive::{VOICE, Weakness};
use fireclay_tests::run::{Ran, driver, feed, result_in};
use fireclay_tests::{Bystander, Canaries, Order, Ordinary, SharedImage, image};
use model::limits::LimitsPatch;
use model::{Layer, Policy, RunRequest, RunResult};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use worker::battery::{Attack, BREACH, Control, Verdict, breaches, verdict};

/// What a run may take beyond its deadline.
const GRACE_MS: u64 = 100;
/// What the process that supervises a run may ever have resident, whatever the code says and does.
const SUPERVISOR_BYTES: u64 = 32 << 20;
/// How often it may read: at all, in each millisecond (two looks at memory and disk, three streams that drip), and besides for each
/// piece of what is large. Code that writes drops must not have its supervisor work for each of them.
const READS: u64 = 1000;
const READS_PER_MS: u64 = 8;
const PIECE_BYTES: u64 = 4096;
/// How often what is kept of the output may be in memory: as it came and as text, of each stream, and as JSON.
const COPIES: u64 = 6;

/// What the supervisor says of an init that died after the program had started.
const KILLED: &str = "init died under the run";

/// What the supervisor says when the workspace is not where it was.
const GONE: &str = "collect artifacts: ";

/// Stands for the limits that an attack asks for: without them it has those of anybody.
const LIMITS: &str = "limits";

/// Stands for the image being a private copy: without it, and without a root of its own, some of what an attack finds there is
/// everybody's to write to, and a neighbour's as well.
const PRIVATE_IMAGE: &str = "private-image";

/// Stands for being root: without it the supervisor is an ordinary user, whose id is the same inside and outside.
const ROOT: &str = "root";

/// How it is said that a run showed nothing.
const INCONCLUSIVE: &str = "inconclusive";

/// Held by whoever has a neighbour in the host's own namespaces, where there is one port and one key for all.
static HOST: Mutex<()> = Mutex::new(());

/// What came of an attack.
pub struct Came {
    /// What is wrong; empty if it was held off.
    pub wrong: Vec<String>,
    /// Figures for people.
    pub note: String,
}

/// Runs an attack by an order, as if it stood. Names all that is wrong: with its result, or left on the machine.
pub fn held_off_as(attack: &Attack, order: Order, canaries: &Canaries) -> Came {
    let before = census::files(image());
    let ran = run(attack, order, canaries);
    let (result, report) = (result_in(&ran), report_in(&ran));
    let mut wrong = wrong_with(attack, &result, &report);
    wrong.extend(canaries.seen_in(&ran.stdout).map(|word| format!("{word} was seen")));
    wrong.extend(report.left.iter().map(|thing| format!("the supervisor is left with {thing}")));
    wrong.extend(census::files(image()).difference(&before).map(|path| format!("left {}", path.display())));
    let usage = &result.usage;
    let after_ms = report.whole_ms.saturating_sub(usage.wall_ms);
    let note = format!(
        "{} ms and {after_ms} ms around it, supervisor {} KiB, {} reads",
        usage.wall_ms,
        report.peak_bytes >> 10,
        report.reads
    );
    if !wrong.is_empty() {
        wrong.push(format!("it printed: {}", shown(&result)));
    }
    Came { wrong, note }
}

/// What is wrong with a result, or with what it took to get it.
fn wrong_with(attack: &Attack, result: &RunResult, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    match verdict(attack, result) {
        Verdict::Held => {}
        Verdict::Breached(what) => wrong.push(format!("breached: {what}")),
        Verdict::Inconclusive(why) => wrong.push(format!("{INCONCLUSIVE}: {why}")),
        Verdict::Undefended(layer, what) => wrong.push(format!("without {layer}: {what}")),
    }
    let limits = Policy::DEFAULT.limits.narrowed(&attack.limits, &Policy::DEFAULT.ceiling);
    if result.usage.wall_ms > limits.timeout_ms + GRACE_MS {
        wrong.push(format!("took {} ms of {}", result.usage.wall_ms, limits.timeout_ms));
    }
    if report.peak_bytes > SUPERVISOR_BYTES + COPIES * limits.output_bytes {
        wrong.push(format!("the supervisor grew to {} MiB", report.peak_bytes >> 20));
    }
    let artifacts = &result.artifacts;
    let large = report.read_bytes + artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>();
    let most = READS + READS_PER_MS * result.usage.wall_ms + 2 * artifacts.len() as u64 + large / PIECE_BYTES;
    if report.reads > most {
        wrong.push(format!("the supervisor read {} times, of {most}", report.reads));
    }
    wrong
}

/// How often a control is tried: an attack need not win each race to show that it can.
const TRIES: usize = 3;

/// Runs an attack against what its head says is weak enough: it must succeed, or it shows nothing. Says what worked, or what it
/// printed instead; `None` if it has no control. The order says what else is different, but for a naive supervisor.
pub fn control_as(attack: &Attack, order: &Order, canaries: &Canaries) -> Option<Result<String, String>> {
    let mut tries = (0..TRIES).map_while(|_| controlled(attack, order, canaries));
    let first = tries.next()?;
    Some(first.or_else(|nothing| tries.find_map(Result::ok).ok_or(nothing)))
}

fn controlled(attack: &Attack, order: &Order, canaries: &Canaries) -> Option<Result<String, String>> {
    let (name, came) = match &attack.control {
        Control::Without(steps) => {
            (format!("without {}", steps.join(" ")), without(attack, steps, order.clone(), canaries))
        }
        Control::Naive { weaknesses, without } => {
            let lacks =
                if without.is_empty() { String::new() } else { format!(" without {}", without.join(" ")) };
            (format!("naive: {}{lacks}", weaknesses.join(" ")), naive(attack, weaknesses, without, canaries))
        }
        Control::None(_) => return None,
    };
    Some(match came {
        Ok(breach) => Ok(format!("{name}: {breach}")),
        Err(nothing) => Err(format!("the control, {name}, shows nothing: {nothing}")),
    })
}

/// Runs an attack without these steps, by an order that says what else is different. Says what worked, or what it printed instead.
pub fn without(attack: &Attack, steps: &[&str], order: Order, canaries: &Canaries) -> Result<String, String> {
    let lacks = |name: &str| steps.contains(&name);
    // What an attack reaches through is what it shares with a neighbour.
    let shares_files = lacks(PRIVATE_IMAGE);
    let shares = shares_files || lacks(Layer::Netns.name()) || lacks(Layer::Ipcns.name());
    let _alone = shares.then(|| HOST.lock().unwrap_or_else(PoisonError::into_inner));
    let shared = shares_files.then(SharedImage::make);
    let order = Order {
        without: steps.iter().map(|step| (*step).to_owned()).collect(),
        shared: shared.as_ref().map(|shared| shared.path().to_owned()),
        ..order
    };
    let mut neighbour = shares.then(|| Bystander::start_by(canaries, order.clone()));
    let user = lacks(ROOT).then(Ordinary::prepare);
    let command = match &user {
        None => driver(),
        Some(Some(user)) => user.driver(),
        Some(None) => return Ok("not shown here: ordinary users may not make sandboxes".to_owned()),
    };
    let ran = run_by(command, attack, order, canaries);
    let harm = neighbour.as_mut().and_then(|neighbour| neighbour.ask().err());
    drop(neighbour);
    if lacks(Layer::Ipcns.name()) {
        remove_segment();
    }
    let (result, report) = (result_in(&ran), report_in(&ran));
    // A job whose streams were not replaced writes to the driver's own.
    let aside = ran.stdout.lines().filter(|line| line.starts_with(BREACH));
    if let Some(breach) = breaches(&result).into_iter().chain(aside).next() {
        return Ok(breach.to_owned());
    }
    let said = result.fault.as_ref().map(|fault| fault.message.clone());
    // Who can kill its init takes the whole sandbox down, and who outlives it is its supervisor's child then. Only without a
    // namespace of processes: otherwise a fault is a plan that does not work, and no proof.
    let killed = said.clone().filter(|fault| fault == KILLED);
    let outlived = report.left.into_iter().find(|thing| thing.starts_with("child "));
    let of_pidns = killed.or(outlived).filter(|_| lacks(Layer::Pidns.name()));
    // Where the places to write to are no mounts, they can be taken away.
    let gone = said.filter(|fault| fault.starts_with(GONE) && lacks("mount-directories"));
    of_pidns.or(gone).or(harm).ok_or_else(|| format!("{}{}", shown(&result), ran.stderr))
}

/// Removes what SG-103 leaves where it has no namespace for it.
fn remove_segment() {
    let mut command = Command::new("ipcrm");
    command.args(["--shmem-key", "0x00ca7a28"]).stderr(Stdio::null());
    // It fails if there is none: another attack had that control.
    command.status().expect("there is an ipcrm");
}

/// Runs an attack with a supervisor that has these weaknesses: it succeeds if the result is wrong, or if the supervisor stumbles.
fn naive(attack: &Attack, names: &[&str], steps: &[&str], canaries: &Canaries) -> Result<String, String> {
    let weakness = |name: &&str| Weakness::named(name).ok_or(format!("{name}: no weakness"));
    let order = Order {
        naive: names.iter().map(weakness).collect::<Result<_, _>>()?,
        without: steps.iter().map(|step| (*step).to_owned()).collect(),
        ..Order::default()
    };
    let ran = run(attack, order, canaries);
    let result = result_in(&ran);
    if let Some(fault) = result.fault.as_ref().filter(|fault| fault.message.starts_with(VOICE)) {
        return Ok(fault.message.clone());
    }
    let mut wrong = wrong_with(attack, &result, &report_in(&ran));
    wrong.extend(canaries.seen_in(&ran.stdout).map(|word| format!("{word} was seen")));
    // An attack that did not come to its end shows nothing, whatever else there is to say about it.
    let inconclusive = wrong.iter().any(|what| what.starts_with(INCONCLUSIVE));
    if wrong.is_empty() || inconclusive { Err(shown(&result) + &ran.stderr) } else { Ok(wrong.join("; ")) }
}

/// Runs an attack by an order that says what is different from the engine as it ships.
fn run(attack: &Attack, order: Order, canaries: &Canaries) -> Ran {
    run_by(driver(), attack, order, canaries)
}

fn run_by(mut command: Command, attack: &Attack, order: Order, canaries: &Canaries) -> Ran {
    let by_default = LimitsPatch { timeout_ms: attack.limits.timeout_ms, ..LimitsPatch::default() };
    let order = Order {
        request: RunRequest {
            language: Some(attack.language),
            code: attack.code.to_owned(),
            limits: if order.without.iter().any(|step| step == LIMITS) { by_default } else { attack.limits },
            egress: order.request.egress.clone(),
            env: order.request.env.clone(),
            ..RunRequest::default()
        },
        allow_missing: vec![Layer::Cgroup],
        careless: true,
        ..order
    };
    let json = serde_json::to_vec(&order).expect("an order is plain data");
    command.arg(canaries.word("argument")).env("CANARY", canaries.word("environment"));
    // What shells read at their start, where it is passed on.
    command.env("BASH_ENV", "/home/sandbox/.bashrc");
    feed(&mut command, &json)
}

/// What an attack prints without these steps, all of it.
pub fn output_without(attack: &Attack, steps: &[&str], canaries: &Canaries) -> String {
    let without = steps.iter().map(|step| (*step).to_owned()).collect();
    run(attack, Order { without, ..Order::default() }, canaries).stdout
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
