//! That no sandbox may swap (RS-23), as its control group says it while it runs: where the machine has no swap, the attack itself
//! cannot tell.

use fireclay_tests::Order;
use fireclay_tests::census::cgroups_of;
use fireclay_tests::run::{interactive, loudly};
use model::{Language, LimitsPatch, RunRequest};
use std::fs;
use std::path::PathBuf;

const MEMORY: u64 = 64 << 20;
const DISK: u64 = 1 << 20;

#[test]
fn rs_23_no_sandbox_may_swap() {
    let swaps = fs::read_to_string("/proc/swaps").expect("Linux lists its swap");
    if swaps.lines().count() < 2 {
        loudly("this machine has no swap: RS-23 shows that none may be used, not that none is");
    }
    let request = RunRequest {
        language: Some(Language::Python),
        code: "import sys; sys.stdin.read()".into(),
        limits: LimitsPatch { memory_bytes: Some(MEMORY), disk_bytes: Some(DISK), ..LimitsPatch::default() },
        ..RunRequest::default()
    };
    let order = Order { request, ..Order::default() };
    let (result, _, limits) = interactive(order, true, |driver, _| limits_of(&cgroups_of(driver)));
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let (together, swap) = limits;
    // Version 1 limits memory and swap together, version 2 swap alone.
    let none = match (together, swap) {
        (Some(together), None) => together == MEMORY + DISK,
        (None, Some(swap)) => swap == 0,
        (None, None) => {
            loudly("this kernel does not account swap: nothing limits it");
            swaps.lines().count() < 2
        }
        both => panic!("both versions at once: {both:?}"),
    };
    assert!(none, "memory and swap {together:?}, swap {swap:?}");
}

/// The limit of memory and swap together, and that of swap, as far as there are such.
fn limits_of(groups: &[PathBuf]) -> (Option<u64>, Option<u64>) {
    assert!(!groups.is_empty(), "the sandbox has no control group");
    let read = |file: &str| {
        let text = groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok())?;
        Some(text.trim().parse().unwrap_or(u64::MAX))
    };
    (read("memory.memsw.limit_in_bytes"), read("memory.swap.max"))
}
