//! The battery against forks of a zygote: they confine themselves by steps of their own (`Plan::joining`), so each of those steps must be
//! seen to hold an attack off, and to let it through when it is left out. Not every attack shows it: the zygote has a filter and
//! no_new_privs too, which every fork inherits, and which are a second wall here.

use super::attack;
use fireclay_tests::run::loudly;
use fireclay_tests::{Canaries, Order, image};
use model::Language;
use sandbox::host::Host;
use std::collections::{BTreeMap, BTreeSet};
use worker::battery::{Control, attacks};

/// Steps that a fork performs for itself, as an attack's head names them, and which nothing else does in its stead.
const STEPS: [&str; 5] = ["drop-capabilities", "join-cgroup", "landlock", "lower-limits", "seccomp"];

/// Controls that take away what a fork is born into.
const NO_PLACE: [&str; 3] = ["pidns", "netns", "root"];

#[test]
fn what_a_fork_does_to_itself_holds_attacks_off() {
    if !sandbox::zygote::possible(&Host::detect()) {
        return loudly("no forks: an ordinary user has no zygote");
    }
    let canaries = Canaries::plant(image().parent().expect("it is below target"));
    let forked = || Order { forked: true, ..Order::default() };
    let mut failures = Vec::new();
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for attack in attacks().iter().filter(|attack| attack.language == Language::Python) {
        let Control::Without(steps) = &attack.control else { continue };
        let own: Vec<&str> = STEPS.into_iter().filter(|step| steps.contains(step)).collect();
        // Without namespaces, or by an ordinary user, there is no sandbox to fork into.
        if own.is_empty() || steps.iter().any(|step| NO_PLACE.contains(step)) {
            continue;
        }
        let came = attack::held_off_as(attack, forked(), &canaries);
        failures.extend(came.wrong.iter().map(|wrong| format!("{}: {wrong}", attack.file)));
        match attack::without(attack, steps, forked(), &canaries) {
            Ok(breach) => {
                println!("{:<10} without {}: {breach}", attack.file, steps.join(" "));
                own.into_iter().for_each(|step| *shown.entry(step).or_default() += 1);
            }
            Err(_) => println!("{:<10} without {}: held off all the same", attack.file, steps.join(" ")),
        }
    }
    println!("controls by step: {shown:?}");
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
    let without_control: BTreeSet<&str> =
        STEPS.into_iter().filter(|step| !shown.contains_key(step)).collect();
    assert_eq!(without_control, BTreeSet::new());
}
