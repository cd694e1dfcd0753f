//! The escape battery through `POST /v1/runs`, eight at once: a service holds what a command holds, also with others beside.
//!
//! Every file of the battery is a program with limits, so every one can be said as a request; none is left out. What `escape/` adds
//! are the controls, and inputs that only a driver can give.

use fireclay_tests::{Canaries, Server, census, image};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use worker::battery::{Verdict, attacks, verdict};

/// Attacks at once.
const CROWD: usize = 8;

#[test]
fn the_battery_is_held_eight_at_once() {
    let server = Server::start(&["--set", "concurrency=8"]);
    let canaries = Canaries::plant(server.data.path());
    let before = census::files(image());
    let attacks = attacks();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request =
                        json!({"language": attack.language, "code": attack.code, "limits": attack.limits});
                    let result = server.run(&request);
                    let text = serde_json::to_string(&result).unwrap();
                    let said = match verdict(attack, &result) {
                        Verdict::Held => canaries.seen_in(&text).map(|word| format!("{word} was seen")),
                        Verdict::Breached(what) => Some(format!("breached: {what}")),
                        Verdict::Inconclusive(why) => Some(format!("inconclusive: {why}")),
                    };
                    let said = said.map(|said| format!("{}: {said}", attack.file));
                    wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    drop(canaries);
    let left: Vec<_> = census::files(image()).difference(&before).cloned().collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    // Ends with a clean machine: the service waits for every keeper.
    let data = server.data.clone();
    drop(server);
    assert_eq!(data.processes(), []);
}
