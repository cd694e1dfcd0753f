//! The escape battery through `POST /v1/runs`, eight at once: a service holds what a command holds, also with others beside.
//!
//! Every file of the battery is a program with limits, so every one can be said as a request; none is left out. What `escape/` adds
//! are the controls, and inputs that only a driver can give.

use super::egress::{THROUGH, Web, fetch};
use fireclay_tests::{Canaries, Data, Server, census, image};
use model::{Language, LimitsPatch};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use worker::battery::{Attack, Verdict, attacks, breaches, verdict};
use worker::template::Template;

/// Attacks at once.
const CROWD: usize = 8;
/// The time of an attack that did not come to its end in its own.
const PATIENCE_MS: u64 = 60_000;

fn request(attack: &Attack) -> Value {
    json!({"language": attack.language, "code": attack.code, "limits": attack.limits})
}

#[test]
fn the_battery_is_held_eight_at_once() {
    let before = census::files(image());
    hold(Server::start(&["--set", "concurrency=8"]), &attacks(), request);
    let left: Vec<_> = census::files(image()).difference(&before).cloned().collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// NT-01 to NT-03, NT-06, NT-18, NT-20, NT-21, NT-100 with a proxy in reach, which is no way for them. The controls are in `escape/`.
#[test]
fn attacks_on_the_network_are_held_beside_a_way_out() {
    let attacks: Vec<Attack> = attacks().into_iter().filter(|attack| attack.group == "NT").collect();
    assert!(attacks.len() >= 8, "{}", attacks.len());
    let (server, web) = (super::egress::server(), Web::start());
    let egress = json!({"allow": [format!("localhost:{}", web.port)]});
    // The control of the way out: what is allowed is reached, in each language of the attacks.
    let url = format!("http://localhost:{}/", web.port);
    for (language, code) in [
        ("python", format!("{THROUGH}{}", fetch(&url))),
        ("bash", format!("unset no_proxy NO_PROXY; curl -s {url}")),
    ] {
        let result = server.run(&json!({"language": language, "code": code, "egress": egress}));
        assert!(result.stdout.starts_with("seen: GET / "), "{result:?}");
    }
    hold(server, &attacks, |attack| {
        let mut asked = request(attack);
        asked["egress"] = egress.clone();
        // They go around the proxy: its answer, that they are refused, they would take for somebody else's.
        asked["env"] = json!({"http_proxy": "", "https_proxy": "", "HTTP_PROXY": "", "HTTPS_PROXY": ""});
        asked
    });
    assert_eq!(web.seen().len(), 2);
}

/// What a warm interpreter with packages has imported, and the layer that they are on, are no way out either.
#[test]
fn the_battery_is_held_by_forks_with_packages() {
    let attacks: Vec<Attack> =
        attacks().into_iter().filter(|attack| attack.language == Language::Python).collect();
    let server = Server::start_in(&Data::with_packages(), &["--set", "concurrency=8"]);
    let template = Template::shipped("python-data").unwrap();
    hold(server, &attacks, |attack| {
        // The one that knows every variable learns of the template's.
        let names = template.env.iter().map(|row| format!("{:?}, ", row.name)).collect::<String>();
        let code = attack.code.replace("KNOWN = {", &format!("KNOWN = {{{names}"));
        json!({"language": "python", "code": code, "limits": attack.limits, "template": template.name})
    });
}

/// Fires the attacks as these requests, and stops the service.
fn hold(server: Server, attacks: &[Attack], request: impl Fn(&Attack) -> Value + Sync) {
    let canaries = Canaries::plant(server.data.path());
    let next = AtomicUsize::new(0);
    let (wrong, again) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = server.run(&request(attack));
                    let text = serde_json::to_string(&result).unwrap();
                    let mut list = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    let seen =
                        canaries.seen_in(&text).map(|word| format!("{}: {word} was seen", attack.file));
                    let worked = breaches(&result).into_iter().map(|line| format!("{}: {line}", attack.file));
                    list.extend(seen.into_iter().chain(worked));
                    if verdict(attack, &result) != Verdict::Held {
                        again.lock().unwrap_or_else(PoisonError::into_inner).push(attack);
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    // What an attack is expected to do takes time that a crowded machine does not have: what worked is wrong at once, what only came
    // out differently is tried again alone, and must then come out right.
    for attack in again.into_inner().unwrap() {
        let mut alone = verdict(attack, &server.run(&request(attack)));
        if let Verdict::Inconclusive(why) = &alone {
            // It did not come to its end in its time, which says nothing of the sandbox: it has as much as it needs.
            println!("{} needed more time: {why}", attack.file);
            let limits = LimitsPatch { timeout_ms: Some(PATIENCE_MS), ..attack.limits };
            let patient = Attack { limits, ..attack.clone() };
            alone = verdict(&patient, &server.run(&request(&patient)));
        }
        match alone {
            Verdict::Held => println!("{} needed the machine for itself", attack.file),
            Verdict::Breached(what) => wrong.push(format!("{}: breached: {what}", attack.file)),
            Verdict::Inconclusive(why) => wrong.push(format!("{}: inconclusive: {why}", attack.file)),
            Verdict::Undefended(layer, what) => {
                wrong.push(format!("{}: without {layer}: {what}", attack.file))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    drop(canaries);
    // Ends with a clean machine: the service waits for every keeper.
    let data = server.data.clone();
    drop(server);
    assert_eq!(data.processes(), []);
}
