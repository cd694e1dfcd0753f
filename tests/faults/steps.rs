//! Step n of the plan fails, for every n (as SQLite's tests fail its n-th allocation).

use fireclay_tests::run::{Ran, drive_raw, result_in};
use fireclay_tests::{Order, census, fireclay};
use model::{FaultCode, Language, RunRequest};

fn order(fail_at: Option<usize>) -> Order {
    let request =
        RunRequest { language: Some(Language::Bash), code: "echo alive".into(), ..RunRequest::default() };
    Order { request, fail_at, ..Order::default() }
}

fn steps() -> Vec<String> {
    let plan = fireclay(&["run", "-l", "bash", "-c", "true", "--show-plan"], b"").stdout;
    let names = plan.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    names.filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned)).collect()
}

/// What the driver said was left in itself: the last line of its standard error.
fn report(ran: &Ran) -> census::Report {
    let last = ran.stderr.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn every_step_that_fails_is_a_fault_that_names_it_and_leaves_nothing() {
    let steps = steps();
    assert!(steps.len() > 30, "{steps:?}");
    for (index, name) in steps.iter().enumerate() {
        let ran = drive_raw(&order(Some(index)));
        let result = result_in(&ran);
        assert_eq!(result.outcome, None, "{name}: {result:?}");
        let fault = result.fault.unwrap_or_else(|| panic!("{name} failed and nobody said so"));
        assert_eq!(fault.code, FaultCode::IsolationFailed, "{name}: {fault:?}");
        assert!(fault.message.starts_with(&format!("step {index} {name}: injected")), "{fault:?}");
        assert_eq!(result.stdout, "", "{name} failed and the code ran all the same");
        assert_eq!(report(&ran).left, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_same_order_without_a_failure_runs() {
    let ran = drive_raw(&order(None));
    assert_eq!(result_in(&ran).stdout, "alive\n");
    assert_eq!(report(&ran).left, Vec::<String>::new());
}
