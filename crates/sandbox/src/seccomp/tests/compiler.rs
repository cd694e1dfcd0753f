//! The compiler on policies nobody would write, and what a mistake in a policy file says.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::interpreter::{Call, assert_acceptable, run};
use super::{Action, Numbers, Policy, Rule, Term, compile, instructions, verdict};
use crate::seccomp::policy::Case;

/// The meaning of a policy, said as plainly as possible.
fn meaning(policy: &Policy, call: &Call) -> u32 {
    let holds = |term: &Term| {
        let low = u32::try_from(call.arguments[usize::from(term.argument)] & 0xffff_ffff).unwrap();
        term.values.contains(&(low & term.mask))
    };
    let action = match policy.rules.get(&call.number) {
        _ if call.number >= 0x4000_0000 => Action::Errno(38),
        None => policy.default,
        Some(rule) => {
            let case = rule.cases.iter().find(|case| case.terms.iter().all(holds));
            case.map_or(rule.otherwise, |case| case.action)
        }
    };
    verdict(action)
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), (1..4u16).prop_map(Action::Errno)]
}

fn any_term() -> impl Strategy<Value = Term> {
    let mask = prop_oneof![Just(u32::MAX), Just(7)];
    (0..3u8, mask, vec(0..8u32, 1..4)).prop_map(|(argument, mask, values)| Term { argument, mask, values })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let case = (vec(any_term(), 1..3), any_action()).prop_map(|(terms, action)| Case { terms, action });
    (vec(case, 0..3), any_action()).prop_map(|(cases, otherwise)| Rule { cases, otherwise })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any_action(), btree_map(0..700u32, any_rule(), 0..200))
        .prop_map(|(default, rules)| Policy { default, rules })
}

#[test]
fn any_policy_compiles_to_what_it_means() {
    let arguments = proptest::array::uniform3(0..9u64);
    let strategy = (any_policy(), vec((0..720u32, arguments), 200));
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let property = |(policy, calls): (Policy, Vec<(u32, [u64; 3])>)| {
        let program = compile(&policy).unwrap();
        assert_acceptable(&program);
        for (number, [a, b, c]) in calls {
            let call = Call::native(number, [a, b | 1 << 40, c, 0, 0, 0]);
            prop_assert_eq!(run(&program, &call).0, meaning(&policy, &call), "{:x?}", call);
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::new(config).run(&strategy, property).unwrap();
}

/// A long list of values is longer than a conditional jump reaches.
#[test]
fn far_targets_are_reached_by_long_jumps() {
    let list = |values: std::ops::Range<u32>| Case {
        terms: vec![Term { argument: 0, mask: u32::MAX, values: values.collect() }],
        action: Action::Allow,
    };
    let rule = |from| Rule { cases: vec![list(from..from + 600)], otherwise: Action::Errno(1) };
    let rules = BTreeMap::from([(3, rule(0)), (4, rule(1000)), (5, rule(2000))]);
    let policy = Policy { default: Action::Errno(38), rules };
    let program = compile(&policy).unwrap();
    assert_acceptable(&program);
    for number in 0..8 {
        for value in 0..3000 {
            let call = Call::native(number, [value; 6]);
            assert_eq!(run(&program, &call).0, meaning(&policy, &call), "{call:?}");
        }
    }
}

#[test]
fn programs_longer_than_the_kernel_takes_are_refused() {
    let term = Term { argument: 0, mask: u32::MAX, values: (0..5000).collect() };
    let case = Case { terms: vec![term], action: Action::Allow };
    let rule = Rule { cases: vec![case], otherwise: Action::Errno(1) };
    let policy = Policy { default: Action::Errno(38), rules: BTreeMap::from([(0, rule)]) };
    let message = compile(&policy).unwrap_err().to_string();
    assert!(message.ends_with("the kernel takes 4096"), "{message}");
}

#[test]
fn another_architecture_is_killed() {
    for filter in [super::super::job(), super::super::init()] {
        let filter = instructions(filter);
        // i386, which int 0x80 enters; aarch64; nothing; and ours in the other byte order.
        for arch in [0x4000_0003, 0xc000_00b7, 0, 0x3e00_00c0] {
            let call = Call { arch, ..Call::native(1, [0; 6]) };
            assert_eq!(run(&filter, &call).0, 0x8000_0000, "{arch:#x}");
        }
    }
}

fn check(policy: &str, expected: &str) {
    let numbers = Numbers::from([("read".to_owned(), 0), ("write".to_owned(), 1)]);
    let error = Policy::parse(policy, &numbers).unwrap_err().to_string();
    assert_eq!(error, expected);
}

/// One row of `read` with a condition, or with another action or reason.
fn row(calls: &str, action: &str, reason: &str, when: &str) -> String {
    let cases = format!("cases = [{{ when = '{when}', action = 'EPERM', reason = 'x' }}]");
    format!(
        "default = 'ENOSYS'\n[constants]\nTEN = 10\n[[rows]]\ncalls = {calls}\naction = '{action}'\nreason = '{reason}'\n{cases}"
    )
}

#[test]
fn mistakes_are_named() {
    let when = |when: &str| row("['read']", "allow", "x", when);
    check(
        &row("['raed']", "allow", "x", "arg0 == TEN"),
        "row of `raed`: no system call is named `raed` (see syscalls-x86_64.toml)",
    );
    check(
        &row("['read', 'read']", "allow", "x", "arg0 == TEN"),
        "row of `read`: `read` stands already in the row of `read`",
    );
    check(&row("['read']", "allow", " ", "arg0 == TEN"), "row of `read`: a reason is missing");
    check(
        &row("['read']", "deny", "x", "arg0 == TEN"),
        "row of `read`: action `deny` is neither \"allow\" nor one of EPERM EACCES EINVAL ENOSYS ENOPROTOOPT EPROTONOSUPPORT \
         EOPNOTSUPP EAFNOSUPPORT",
    );
    check(&when("arg0 == 1"), "constant `TEN` is used by no condition");
    let condition = |text: &str, problem: &str| {
        check(&when(text), &format!("row of `read`: condition `{text}`: {problem}"))
    };
    condition("arg6 == TEN", "`arg6` is not one of arg0 to arg5");
    condition("arg0 != TEN", "`arg0 != TEN` is neither `… == VALUE` nor `… in [VALUE, …]`");
    condition("arg0 == ELEVEN", "`ELEVEN` is neither a constant nor a number of 32 bits");
    condition("arg0 == 0x100000001", "`0x100000001` is neither a constant nor a number of 32 bits");
    condition("arg0 & 8 == TEN", "0xa has bits outside the mask 0x8 and can never match");
    condition("arg0 in TEN", "`TEN` is not a list in brackets");
    condition("arg0 in [TEN, 10]", "`10` is listed twice");
    condition("arg0 == TEN &&", "`` is neither `… == VALUE` nor `… in [VALUE, …]`");
}
