//! Tests of the system-call filters. Nothing is installed here: the filters run in an interpreter and are compared with the
//! catalogue of attacks, with another compiler, and with the table a reviewer has read.

use super::compile::{Instruction, compile, verdict};
use super::policy::{Action, Numbers, Policy, Rule, Term, parse_numbers};

mod catalogue;
mod compiler;
mod golden;
mod interpreter;
mod numbers;
mod oracle;

const JOB_TEXT: &str = include_str!("../../../../policy/seccomp/job.toml");
const INIT_TEXT: &str = include_str!("../../../../policy/seccomp/init.toml");
const ZYGOTE_TEXT: &str = include_str!("../../../../policy/seccomp/zygote.toml");
const STAY_TEXT: &str = include_str!("../../../../policy/seccomp/stay.toml");
const PROXY_TEXT: &str = include_str!("../../../../policy/seccomp/proxy.toml");
const NUMBERS_TEXT: &str = include_str!("../../../../policy/seccomp/syscalls-x86_64.toml");

fn numbers() -> Numbers {
    parse_numbers(NUMBERS_TEXT).unwrap()
}

fn job_policy() -> Policy {
    Policy::parse(JOB_TEXT, &numbers()).unwrap()
}

fn init_policy() -> Policy {
    Policy::parse(INIT_TEXT, &numbers()).unwrap()
}

fn zygote_policy() -> Policy {
    job_policy().replaced_by(Policy::parse(ZYGOTE_TEXT, &numbers()).unwrap())
}

fn stay_policy() -> Policy {
    job_policy().replaced_by(Policy::parse(STAY_TEXT, &numbers()).unwrap())
}

fn proxy_policy() -> Policy {
    Policy::parse(PROXY_TEXT, &numbers()).unwrap()
}

/// The filter as the product has it, in the compiler's own type.
fn instructions(filter: &[libc::sock_filter]) -> Vec<Instruction> {
    filter.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

#[test]
fn tables_are_what_the_compiler_makes_of_the_policy() {
    assert_eq!(instructions(super::job()), compile(&job_policy()).unwrap());
    assert_eq!(instructions(super::init()), compile(&init_policy()).unwrap());
    assert_eq!(instructions(super::zygote()), compile(&zygote_policy()).unwrap());
    assert_eq!(instructions(super::stay()), compile(&stay_policy()).unwrap());
    assert_eq!(instructions(super::proxy()), compile(&proxy_policy()).unwrap());
}

#[test]
fn policy_text_holds_every_file() {
    for text in [JOB_TEXT, INIT_TEXT, ZYGOTE_TEXT, STAY_TEXT, PROXY_TEXT, NUMBERS_TEXT] {
        assert!(super::POLICY_TEXT.contains(text));
    }
}
