//! The escape battery at work: each attack must be held off, and must succeed when its walls are gone.
//!
//! One test per group, so that a failing wall is seen by its group; all failures of a group are reported together. Beside every
//! attack runs a bystander that must not notice it; nothing of an attack may be left on the machine; and no canary may be seen.

mod attack;
mod forked;
mod inputs;
mod naive;
mod ordinary;
mod surface;
mod swap;
mod twice;

use fireclay_tests::census;
use fireclay_tests::{Bystander, Canaries, Order, image};
use model::{Egress, RunRequest};
use std::fmt::Write as _;
use worker::battery::{Attack, Control, attacks};

#[test]
fn fs_file_systems() {
    group("FS");
}

#[test]
fn pr_proc_devices_and_terminals() {
    group("PR");
}

#[test]
fn ns_namespaces_capabilities_identity() {
    group("NS");
}

#[test]
fn sc_system_calls() {
    group("SC");
}

#[test]
fn sg_signals_and_neighbours() {
    group("SG");
}

#[test]
fn rs_resources() {
    group("RS");
}

#[test]
fn nt_network() {
    group("NT");
}

/// NT-01 to NT-03, NT-06, NT-18, NT-20, NT-21, NT-100: a sandbox with a way out has the same walls, and each attack succeeds without them.
#[test]
fn nt_network_with_a_way_out() {
    let egress = Some(Egress { allow: vec!["a.test".into()], ..Egress::default() });
    // They go around the proxy: what goes by it is refused by it, with an answer that they would take for somebody else's.
    let env =
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name.into(), String::new()));
    let request = RunRequest { egress, env: env.into(), ..RunRequest::default() };
    group_as("NT", &Order { request, ..Order::default() });
}

#[test]
fn se_secrets_and_shared_state() {
    group("SE");
}

#[test]
fn cp_forged_results_and_life_cycle() {
    group("CP");
}

#[test]
fn in_inputs() {
    group("IN");
}

#[test]
fn every_attack_is_in_a_group_that_runs() {
    let strangers: Vec<&str> =
        attacks().iter().filter(|attack| !GROUPS.contains(&attack.group)).map(|attack| attack.file).collect();
    assert_eq!(strangers, [""; 0]);
}

/// The controls of the tests' own eyes: a canary that is reached is recognised, and what is left behind is counted.
#[test]
fn what_is_planted_is_recognised_when_it_is_reached() {
    let canaries = Canaries::plant(image().parent().expect("it is below target"));
    let attack = attacks().into_iter().find(|attack| attack.file == "FS-01.py").expect("it is there");
    let Control::Without(steps) = &attack.control else { panic!("it has a control") };
    let output = attack::output_without(&attack, steps, &canaries);
    assert!(canaries.seen_in(&output).is_some() && output.contains(&canaries.word("file")), "{output}");
    let before = census::Own::take();
    let file = std::fs::File::open("/dev/null").expect("it is there");
    let new = census::Own::take().since(&before);
    assert!(
        new.iter().any(|thing| thing.starts_with("descriptor ") && thing.ends_with("/dev/null")),
        "{new:?}"
    );
    drop(file);
}

const GROUPS: [&str; 10] = ["FS", "PR", "NS", "SC", "SG", "RS", "NT", "SE", "CP", "IN"];

/// The attacks without a control, and why: few, and each reason is to be read by a person.
#[test]
fn attacks_without_a_control() {
    let mut list = String::new();
    for attack in attacks() {
        if let Control::None(reason) = attack.control {
            writeln!(list, "{:<10} {reason}", attack.file).expect("a String takes all");
        }
    }
    insta::assert_snapshot!(list);
}

#[test]
fn the_figures_that_are_promised_are_true() {
    let attacks = attacks();
    let count = |of: fn(&Attack) -> bool| attacks.iter().filter(|attack| of(attack)).count();
    let without = count(|attack| matches!(attack.control, Control::Without(_)));
    let naive = count(|attack| matches!(attack.control, Control::Naive { .. }));
    let needs = count(|attack| !attack.needs.is_empty());
    let all = attacks.len();
    for figure in [
        format!("{} of {all} attacks have a positive control", without + naive),
        format!("{without} in a sandbox whose plan lacks the steps"),
        format!("{naive} against a naive supervisor"),
        format!("{needs} attacks are not held off then"),
    ] {
        assert!(SECURITY.contains(&figure), "SECURITY.md does not say: {figure}");
    }
}

/// Where the figures are.
const SECURITY: &str = include_str!("../../SECURITY.md");

/// Only some of the attacks: those whose file name starts with this. For work on one of them.
const ONLY: &str = "FIRECLAY_ATTACK";

/// How much of what a control showed is printed.
const NOTE_CHARS: usize = 300;

/// Runs a group: each attack, then its control.
fn group(name: &str) {
    group_as(name, &Order::default());
}

/// The same in sandboxes of which something is different.
fn group_as(name: &str, order: &Order) {
    let only = std::env::var(ONLY).unwrap_or_default();
    let attacks: Vec<Attack> = attacks()
        .into_iter()
        .filter(|attack| attack.group == name && attack.file.starts_with(&only))
        .collect();
    assert!(!attacks.is_empty() || !only.is_empty(), "the group {name} is empty");
    let canaries = Canaries::plant(image().parent().expect("it is below target"));
    let mut bystander = Bystander::start(&canaries);
    let mut failures = Vec::new();
    for attack in &attacks {
        let mut failed = attack::held_off_as(attack, order.clone(), &canaries);
        match bystander.ask() {
            Ok(latency) => println!("{:<10} {}; bystander {latency}", attack.file, failed.note),
            Err(harm) => {
                failed.wrong.push(harm);
                bystander = Bystander::start(&canaries);
            }
        }
        match attack::control_as(attack, order, &canaries) {
            Some(Ok(breach)) => {
                println!("{:<10} {}", "", breach.chars().take(NOTE_CHARS).collect::<String>())
            }
            Some(Err(nothing)) => failed.wrong.push(nothing),
            None => {}
        }
        if !failed.wrong.is_empty() {
            failures.push(format!("{} {}\n    {}", attack.file, attack.title, failed.wrong.join("\n    ")));
        }
    }
    drop(bystander);
    failures.extend(damage_to_the_image());
    assert!(
        failures.is_empty(),
        "{} of {} attacks:\n\n{}",
        failures.len(),
        attacks.len(),
        failures.join("\n\n")
    );
}

fn damage_to_the_image() -> Option<String> {
    let store = worker::image::ImageStore::open(image());
    let image = store.find("default").expect("the store is readable").expect("the image is there");
    let differences = store.verify(&image).expect("the image is readable");
    (!differences.is_empty()).then(|| format!("the image has changed: {differences:?}"))
}
