//! The controls of the naive supervisor: about programs that mean no harm it is right, whatever is weak about it. So what an attack
//! makes of it is the attack's doing.

use fireclay_tests::naive::Weakness;
use fireclay_tests::{Order, drive};
use model::{Language, LimitsPatch, RunRequest, RunResult};

/// Ends that every supervisor has to tell apart: a value and a file, an error, output of another language.
const HONEST: [(Language, &str); 3] = [
    (
        Language::Python,
        "import time\nprint('hello')\nopen('left.txt', 'w').write(str(time.time_ns()))\n6 * 7",
    ),
    (Language::Python, "print('before')\nraise ValueError('after')"),
    (Language::JavaScript, "console.log('hello')"),
];

/// The weaknesses that have a deadline of another kind. Two more are not here: what they count goes slower when the machine has
/// other work, which is what is weak about them.
const DEADLINES: [Weakness; 2] = [Weakness::AsksTheGuestToEnd, Weakness::WaitsForSilence];

#[test]
fn a_naive_supervisor_is_right_about_honest_programs() {
    for (language, code) in HONEST {
        let order = Order {
            request: RunRequest {
                language: Some(language),
                code: code.into(),
                limits: LimitsPatch { timeout_ms: Some(5000), ..LimitsPatch::default() },
                ..RunRequest::default()
            },
            ..Order::default()
        };
        let ours = facts(drive(&order));
        for weakness in Weakness::ALL {
            let theirs = facts(drive(&Order { naive: vec![weakness], ..order.clone() }));
            assert_eq!(theirs, ours, "{weakness:?} about {code}");
        }
    }
}

/// What a result says that is no measurement.
fn facts(result: RunResult) -> impl std::fmt::Debug + PartialEq {
    let files: Vec<String> = result.artifacts.into_iter().map(|artifact| artifact.path).collect();
    (result.fault, result.outcome, result.exit_code, result.signal, result.stdout, result.limits_hit, files)
}

#[test]
fn a_naive_deadline_ends_what_does_not_resist() {
    const TIMEOUT_MS: u64 = 1000;
    /// Well before a naive supervisor's backstop.
    const LATE_MS: u64 = 400;
    for weakness in DEADLINES {
        let order = Order {
            request: RunRequest {
                language: Some(Language::Python),
                code: "while True:\n    pass".into(),
                limits: LimitsPatch { timeout_ms: Some(TIMEOUT_MS), ..LimitsPatch::default() },
                ..RunRequest::default()
            },
            naive: vec![weakness],
            ..Order::default()
        };
        let wall_ms = drive(&order).usage.wall_ms;
        let in_time = TIMEOUT_MS..TIMEOUT_MS + LATE_MS;
        assert!(in_time.contains(&wall_ms), "{weakness:?} took {wall_ms} ms of {TIMEOUT_MS}");
    }
}
