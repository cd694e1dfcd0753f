//! The escape battery in interpreters that keep their state: each attack is a run of a session of its own, and the session answers as
//! ever when it is over.

use super::sessions::{open, run};
use fireclay_tests::{Canaries, Server};
use serde_json::json;
use worker::battery::{Verdict, attacks, breaches, verdict};

/// Attacks that are not fired so, and why not.
const NOT_HERE: [(&str, &str); 1] =
    [("PR-107.sh", "reads the name of its control group, which is that of its own job below the sandbox's")];

#[test]
fn the_battery_is_held_by_interpreters_that_stay() {
    let server = Server::start(&[]);
    let canaries = Canaries::plant(server.data.path());
    let mut wrong = Vec::new();
    for attack in attacks().iter().filter(|attack| !NOT_HERE.iter().any(|(file, _)| *file == attack.file)) {
        let session = open(&server, &json!({"limits": attack.limits}));
        let result = run(&server, &session, &json!({"language": attack.language, "code": attack.code}));
        let text = result.to_string();
        wrong.extend(canaries.seen_in(&text).map(|word| format!("{}: {word} was seen", attack.file)));
        let result = serde_json::from_value(result).unwrap();
        wrong.extend(breaches(&result).into_iter().map(|line| format!("{}: {line}", attack.file)));
        if verdict(attack, &result) != Verdict::Held {
            wrong.push(format!("{}: {:?} {text}", attack.file, verdict(attack, &result)));
        }
        // Whatever it did, the session can be used and closed.
        let after = run(&server, &session, &json!({"language": "bash", "code": "echo on"}));
        if after["stdout"] != "on\n" && after["outcome"] != "disk_exceeded" {
            wrong.push(format!("{}: afterwards {after}", attack.file));
        }
        assert_eq!(server.delete(&session).0, 200);
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
