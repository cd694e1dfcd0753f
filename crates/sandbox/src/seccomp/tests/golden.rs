//! The reviewed table (SC-23): what every number gets, number by number, and what the filter costs.
//! After a change of policy run the tests once with `UPDATE_GOLDEN=1` and read the difference.

use std::fmt::Write as _;
use std::{env, fs};

use super::interpreter::{Call, run};
use super::{
    Action, Policy, Rule, Term, init_policy, instructions, job_policy, numbers, proxy_policy, stay_policy,
    zygote_policy,
};
use crate::seccomp::policy::ERRNOS;

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Errno(errno) => ERRNOS.iter().find(|(_, value)| *value == errno).unwrap().0,
    }
}

fn term(Term { argument, mask, values }: &Term) -> String {
    let mask = if *mask == u32::MAX { String::new() } else { format!(" & {mask:#x}") };
    match values.as_slice() {
        [value] => format!("arg{argument}{mask} == {value:#x}"),
        values => {
            let values: Vec<String> = values.iter().map(|value| format!("{value:#x}")).collect();
            format!("arg{argument}{mask} in [{}]", values.join(", "))
        }
    }
}

fn rule(rule: &Rule) -> String {
    let mut text = String::new();
    for case in &rule.cases {
        let terms: Vec<String> = case.terms.iter().map(term).collect();
        write!(text, "{} if {}; ", action(case.action), terms.join(" && ")).unwrap();
    }
    text + if rule.cases.is_empty() { "" } else { "else " } + action(rule.otherwise)
}

/// The cost of a filter: its length, and the way through it for the numbers the kernel scans at install.
fn cost(filter: &[libc::sock_filter]) -> String {
    let filter = instructions(filter);
    let steps: Vec<usize> = (0..472).map(|number| run(&filter, &Call::native(number, [0; 6])).1).collect();
    let (mean, most) = (steps.iter().sum::<usize>() / steps.len(), steps.iter().max().unwrap());
    format!(
        "# {} instructions; of calls 0..472 with zero arguments: {mean} steps on average, {most} at most",
        filter.len()
    )
}

fn table(policy: &Policy, filter: &[libc::sock_filter]) -> String {
    let names = numbers();
    let name = |number| names.iter().find(|(_, n)| **n == number).map_or("-", |(name, _)| name.as_str());
    let unlisted = Rule { cases: Vec::new(), otherwise: policy.default };
    let mut text = cost(filter) + "\n";
    for number in 0..=1023 {
        let fate = rule(policy.rules.get(&number).unwrap_or(&unlisted));
        writeln!(text, "{number:4} {:24} {fate}", name(number)).unwrap();
    }
    text
}

fn check(file: &str, policy: &Policy, filter: &[libc::sock_filter]) {
    let path = format!("{}/src/seccomp/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let now = table(policy, filter);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    for (now, reviewed) in now.lines().zip(reviewed.lines()) {
        assert_eq!(now, reviewed, "{file}; see the head of golden.rs");
    }
    assert_eq!(now, reviewed, "{file}");
}

#[test]
fn job_table_is_the_reviewed_one() {
    check("job.txt", &job_policy(), super::super::job());
}

#[test]
fn init_table_is_the_reviewed_one() {
    check("init.txt", &init_policy(), super::super::init());
}

#[test]
fn zygote_table_is_the_reviewed_one() {
    check("zygote.txt", &zygote_policy(), super::super::zygote());
}

#[test]
fn the_table_of_an_init_that_stays_is_the_reviewed_one() {
    check("stay.txt", &stay_policy(), super::super::stay());
}

#[test]
fn the_table_of_the_proxy_is_the_reviewed_one() {
    check("proxy.txt", &proxy_policy(), super::super::proxy());
}

/// Install cost grows with both; feasibility.md measured 80 µs for a tree of this size.
#[test]
fn filters_stay_short_and_shallow() {
    for (filter, length) in [(super::super::job(), 400), (super::super::init(), 80)] {
        assert!(filter.len() < length, "{} instructions", filter.len());
        let filter = instructions(filter);
        // The way to a number, before arguments: arch and x32 checks, then the search.
        let most = (0..472).map(|number| search_depth(&filter, number)).max().unwrap();
        assert!(most <= 16, "{most} instructions");
    }
}

/// How many instructions a number takes until its verdict or the first look at an argument.
fn search_depth(filter: &[super::Instruction], number: u32) -> usize {
    let mut until_arguments = filter.to_vec();
    for instruction in &mut until_arguments {
        if instruction.code == 0x20 && instruction.k >= 16 {
            *instruction = super::Instruction { code: 0x06, jt: 0, jf: 0, k: 0 };
        }
    }
    run(&until_arguments, &Call::native(number, [0; 6])).1
}
