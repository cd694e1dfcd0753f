//! The system calls that get through, as seen from inside: each number of SC-23 compared with the filter's own table, and the
//! whole kept as a golden file.

use fireclay_tests::{Order, drive};
use model::{Language, LimitsPatch, RunRequest};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PROGRAM: &str = include_str!("attacks/SC-23.py");
/// The filter's table, which the sandbox's own tests hold to the policy.
const TABLE: &str = include_str!("../../crates/sandbox/src/seccomp/golden/job.txt");
/// `uretprobe` and `uprobe` are let past any filter by kernels from 6.14 on: the answer is the kernel's (SIGILL, SIGSEGV or ENXIO).
const PAST_ANY_FILTER: [u16; 2] = [335, 336];
/// What the C library says where it has two names for one number.
const ALIASES: [(&str, &str); 1] = [("ENOTSUP", "EOPNOTSUPP")];

#[test]
fn every_number_is_answered_as_the_policy_says() {
    let seen = observe();
    let mut wrong = Vec::new();
    for (number, name, fate) in rows() {
        let Some(answer) = seen.get(&number).filter(|_| !PAST_ANY_FILTER.contains(&number)) else { continue };
        // What is allowed, or depends on arguments, is answered by the kernel; the golden file holds what it said.
        let refused = fate.starts_with('E') && !fate.contains(' ');
        if refused && answer != fate {
            wrong.push(format!("{number} {name}: {answer} instead of {fate}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Run once with `UPDATE_GOLDEN=1` after a change of policy, and read the difference. The answers of calls that get through are the
/// kernel's, so that the file is of one release and compared there only; on others the test above says what matters.
#[test]
fn the_answers_are_those_of_the_golden_file() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has a release");
    let release: Vec<&str> = release.split('.').take(2).collect();
    let head = format!("# Linux {}", release.join("."));
    let names: BTreeMap<u16, &str> = rows().map(|(number, name, _)| (number, name)).collect();
    let mut text = head.clone() + "\n";
    for (number, answer) in observe() {
        let name = names[&number];
        let answer = if PAST_ANY_FILTER.contains(&number) { "the machine's" } else { &answer };
        text += &format!("{number:4} {name:24} {answer}\n");
    }
    let path = golden();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).expect("the source tree is writable");
    }
    let golden = fs::read_to_string(&path).expect("the golden file is there");
    if golden.lines().next() == Some(&head) {
        let wrong: Vec<&str> =
            text.lines().filter(|line| !golden.lines().any(|other| other == *line)).collect();
        assert!(text == golden, "these differ from {}:\n{}", path.display(), wrong.join("\n"));
    } else {
        println!("not compared: the golden file is of another kernel than {head}");
    }
}

/// The answer to each number, from inside a sandbox.
fn observe() -> BTreeMap<u16, String> {
    let limits = LimitsPatch { timeout_ms: Some(15_000), processes: Some(16), ..LimitsPatch::default() };
    let request = RunRequest {
        language: Some(Language::Python),
        code: PROGRAM.into(),
        limits,
        ..RunRequest::default()
    };
    let result = drive(&Order { request, ..Order::default() });
    assert!(result.stdout.ends_with("HELD\n"), "{result:?}");
    let row = |line: &str| {
        let (number, answer) = line.trim_start().split_once(' ')?;
        let answer = ALIASES.iter().find(|(alias, _)| *alias == answer).map_or(answer, |(_, name)| name);
        Some((number.parse().ok()?, answer.to_owned()))
    };
    result.stdout.lines().filter_map(row).collect()
}

/// The filter's table: number, name, fate.
fn rows() -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (number, rest) = line.trim_start().split_once(' ').expect("a row has a number");
        let (name, fate) = rest.split_once(' ').expect("a row has a name");
        (number.parse().expect("a row has a number"), name, fate.trim_start())
    })
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("escape/golden/sc-23.txt")
}
