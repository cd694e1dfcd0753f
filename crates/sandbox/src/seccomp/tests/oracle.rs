//! The same policy through another compiler, `seccompiler`, must give the same verdict for every call.
//!
//! `seccompiler` knows one action per filter and no order of cases, so each case position and action becomes a filter of its own,
//! asked in order. What it takes as equal, greater or masked is its own affair; only the rows are shared.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::interpreter::{Call, run};
use super::{Action, Instruction, Policy, Rule, Term, init_policy, instructions, job_policy, verdict};

/// What an oracle's filter returns where it has no opinion: `SECCOMP_RET_LOG`.
const NO_OPINION: u32 = 0x7ffc_0000;
const X32_BIT: u32 = 0x4000_0000;

struct Oracle {
    filters: Vec<Vec<Instruction>>,
    default: Action,
}

impl Oracle {
    fn new(policy: &Policy) -> Self {
        let depth = policy.rules.values().map(|rule| rule.cases.len()).max().unwrap_or(0);
        let mut filters: Vec<_> = (0..depth).flat_map(|position| case_filters(policy, position)).collect();
        filters.extend(filters_by_action(
            policy.rules.iter().map(|(nr, rule)| (*nr, rule.otherwise, Vec::new())),
        ));
        Self { filters, default: policy.default }
    }

    fn verdict(&self, call: &Call) -> u32 {
        if call.number >= X32_BIT {
            return verdict(Action::Errno(38));
        }
        let opinions = self.filters.iter().map(|filter| run(filter, call).0);
        opinions.into_iter().find(|opinion| *opinion != NO_OPINION).unwrap_or(verdict(self.default))
    }
}

/// The filters of the cases at one position of all rules.
fn case_filters(policy: &Policy, position: usize) -> Vec<Vec<Instruction>> {
    let cases = policy.rules.iter().filter_map(|(number, rule)| Some((*number, rule.cases.get(position)?)));
    filters_by_action(cases.map(|(number, case)| (number, case.action, alternatives(&case.terms))))
}

fn filters_by_action(
    entries: impl Iterator<Item = (u32, Action, Vec<SeccompRule>)>,
) -> Vec<Vec<Instruction>> {
    let mut by_action: BTreeMap<Action, BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
    for (number, action, rules) in entries {
        by_action.entry(action).or_default().insert(number.into(), rules);
    }
    by_action.into_iter().map(|(action, rules)| filter(action, rules)).collect()
}

fn filter(action: Action, rules: BTreeMap<i64, Vec<SeccompRule>>) -> Vec<Instruction> {
    let matched = match action {
        Action::Allow => SeccompAction::Allow,
        Action::Errno(errno) => SeccompAction::Errno(errno.into()),
    };
    let filter = SeccompFilter::new(rules, SeccompAction::Log, matched, TargetArch::x86_64).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    program.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

/// One rule for each way to pick a value for every term.
fn alternatives(terms: &[Term]) -> Vec<SeccompRule> {
    let mut picks: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for term in terms {
        let with =
            |pick: &Vec<SeccompCondition>, value| [pick.clone(), vec![condition(term, value)]].concat();
        picks =
            picks.iter().flat_map(|pick| term.values.iter().map(move |value| with(pick, *value))).collect();
    }
    picks.into_iter().map(|pick| SeccompRule::new(pick).unwrap()).collect()
}

fn condition(term: &Term, value: u32) -> SeccompCondition {
    let operator = match term.mask {
        u32::MAX => SeccompCmpOp::Eq,
        mask => SeccompCmpOp::MaskedEq(mask.into()),
    };
    SeccompCondition::new(term.argument, SeccompCmpArgLen::Dword, operator, value.into()).unwrap()
}

/// Values of one argument at which a rule could change its mind, and some at which it must not.
fn boundaries(rule: &Rule, argument: u8) -> Vec<u64> {
    let mut values = BTreeSet::from([0, u64::MAX]);
    let terms = rule.cases.iter().flat_map(|case| &case.terms).filter(|term| term.argument == argument);
    for term in terms {
        for value in &term.values {
            let around = [*value, value.wrapping_sub(1), value.wrapping_add(1), value | !term.mask];
            values.extend(around.map(u64::from));
            values.extend([u64::from(*value) | 1 << 32, u64::from(*value) | 0xdead_beef << 32]);
        }
    }
    values.into_iter().collect()
}

/// All combinations of the boundaries of the arguments a rule looks at.
fn samples(rule: Option<&Rule>) -> Vec<[u64; 6]> {
    let mut samples = vec![[0; 6], [u64::MAX; 6], [0x1_0000_0000; 6]];
    let Some(rule) = rule.filter(|rule| !rule.cases.is_empty()) else { return samples };
    for argument in 0..6 {
        let looked_at = rule.cases.iter().flat_map(|case| &case.terms).any(|term| term.argument == argument);
        if looked_at {
            let place = |sample: &[u64; 6], value| {
                let mut sample = *sample;
                sample[usize::from(argument)] = value;
                sample
            };
            let values = boundaries(rule, argument);
            samples = samples
                .iter()
                .flat_map(|s| values.iter().map(|v| place(s, *v)).collect::<Vec<_>>())
                .collect();
        }
    }
    samples
}

fn assert_same(policy: &Policy, filter: &[libc::sock_filter]) {
    let (oracle, filter) = (Oracle::new(policy), instructions(filter));
    let x32 = X32_BIT..X32_BIT + 1100;
    let edges = [X32_BIT - 1, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, u32::MAX];
    for number in (0..1100).chain(x32).chain(edges) {
        for arguments in samples(policy.rules.get(&number)) {
            let call = Call::native(number, arguments);
            assert_eq!(run(&filter, &call).0, oracle.verdict(&call), "{call:x?}");
        }
    }
}

#[test]
fn job_filter_agrees_with_seccompiler_on_every_number() {
    assert_same(&job_policy(), super::super::job());
}

#[test]
fn init_filter_agrees_with_seccompiler_on_every_number() {
    assert_same(&init_policy(), super::super::init());
}

/// Numbers that exist, numbers that might, and any.
fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..480u32,
        Just(41u32),
        Just(157),
        Just(54),
        (0..480u32).prop_map(|n| n | X32_BIT),
        any::<u32>()
    ]
}

/// Small values, where options and families live, with and without a high half; and any.
fn any_argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..64u64,
        (0..64u64, any::<u32>()).prop_map(|(low, high)| low | u64::from(high) << 32),
        any::<u64>()
    ]
}

#[test]
fn filters_agree_with_seccompiler_on_random_calls() {
    let pairs = [(job_policy(), super::super::job()), (init_policy(), super::super::init())];
    let pairs = pairs.map(|(policy, filter)| (Oracle::new(&policy), instructions(filter)));
    let strategy = (any_number(), proptest::array::uniform6(any_argument()));
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let property = |(number, arguments)| {
        let call = Call::native(number, arguments);
        for (oracle, filter) in &pairs {
            prop_assert_eq!(run(filter, &call).0, oracle.verdict(&call), "{:x?}", call);
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::new(config).run(&strategy, property).unwrap();
}
