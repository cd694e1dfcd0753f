//! The escape battery in sessions: each attack is a run of a session of its own, in the interpreter that keeps its state, after which the
//! session answers as ever, and as a fresh program. Here, and so alone: attacks say by when they must be gone.

use super::sessions::{open, run};
use fireclay_tests::{Canaries, Server};
use serde_json::{Value, json};
use worker::battery::{Attack, Expect, Verdict, attacks, breaches, verdict};

/// The attack that is not fired here: it reads the name of its control group, which is that of its own job below the sandbox's.
const NOT_HERE: &str = "PR-107.sh";

/// Attacks that come out otherwise than as programs of their own, and why. That nothing worked holds of them, too.
const OTHERWISE: [(&str, &str); 2] = [
    ("FS-101.py", "a run is over when its code is, though its threads go on"),
    ("CP-05.py", "it breaks what would do the next runs, which ends with it"),
];

/// What an attack may do to its own session, which then answers no more as ever.
const SPOILT: [(&str, &str); 3] = [
    ("FS-108.py", "takes away the right to the directory that programs start in"),
    ("RS-01.py", "its processes stay in the background, as many as may be"),
    ("RS-01.js", "its processes stay in the background, as many as may be"),
];

/// What programs are changed by: they learn what an interpreter that stays has by right.
const LEARNT: [(&str, &str); 3] = [
    // It draws into files.
    ("KNOWN = {", "KNOWN = {\"MPLBACKEND\", "),
    // Its orders come over a socket (guest/PROTOCOL.md), to whose other end nobody listens.
    ("elif stat.S_ISSOCK(mode):", "elif stat.S_ISSOCK(mode) and name not in (\"62\", \"1000\"):"),
    ("for fd in range(3, 64):", "for fd in (*range(3, 62), 63):"),
];

/// How long an interpreter that is interrupted for its time may go on before it is killed.
const GRACE_MS: u64 = 2_000;

/// The attack, of which is expected what holds for an interpreter that stays.
fn here(attack: Attack) -> Attack {
    let expect = attack.expect.into_iter().map(|expect| match expect {
        Expect::WithinMs(ms) => Expect::WithinMs(ms + GRACE_MS),
        other => other,
    });
    Attack { expect: expect.collect(), ..attack }
}

#[test]
fn the_battery_is_held_by_interpreters_that_stay() {
    let named = |list: &[(&str, &str)], attack: &Attack| list.iter().any(|(file, _)| *file == attack.file);
    hold(|server, session, attack| {
        let attack = here(attack.clone());
        let code = LEARNT.iter().fold(attack.code.to_owned(), |code, (old, new)| code.replace(old, new));
        let result = run(server, session, &json!({"language": attack.language, "code": code}));
        let held = named(&OTHERWISE, &attack) || is_held(&attack, &result);
        // Whatever it did, the session can be used and closed.
        let after = run(server, session, &json!({"language": "bash", "code": "echo on"}));
        let lives =
            after["stdout"] == "on\n" || after["outcome"] == "disk_exceeded" || named(&SPOILT, &attack);
        let otherwise = if lives { (!held).then(String::new) } else { Some(format!("afterwards {after}")) };
        (result, otherwise)
    });
}

#[test]
fn the_battery_is_held_inside_a_session() {
    hold(|server, session, attack| {
        let asked =
            json!({"language": attack.language, "code": attack.code, "limits": attack.limits, "fresh": true});
        let result = run(server, session, &asked);
        let otherwise = (!is_held(attack, &result)).then(String::new);
        (result, otherwise)
    });
}

fn is_held(attack: &Attack, result: &Value) -> bool {
    verdict(attack, &serde_json::from_value(result.clone()).unwrap()) == Verdict::Held
}

/// Fires each attack in a session of its own. What worked is wrong at once; what only came out otherwise, as on a machine that was away for a
/// moment, is tried once more, and must then come out right.
fn hold(fire: impl Fn(&Server, &str, &Attack) -> (Value, Option<String>)) {
    let server = Server::start(&[]);
    let canaries = Canaries::plant(server.data.path());
    let mut wrong = Vec::new();
    for attack in attacks().iter().filter(|attack| attack.file != NOT_HERE) {
        for last in [false, true] {
            let session = open(&server, &json!({"limits": attack.limits}));
            let (result, otherwise) = fire(&server, &session, attack);
            assert_eq!(server.delete(&session).0, 200);
            let text = result.to_string();
            wrong.extend(canaries.seen_in(&text).map(|word| format!("{}: {word} was seen", attack.file)));
            let read = serde_json::from_value(result).unwrap();
            wrong.extend(breaches(&read).into_iter().map(|line| format!("{}: {line}", attack.file)));
            match otherwise {
                None => break,
                Some(_) if !last => println!("{} is tried again", attack.file),
                Some(why) => {
                    wrong.push(format!("{}: {:?} {why} {text}", attack.file, verdict(attack, &read)))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
