//! `kill -9` of the service under load, again and again: what was acknowledged is in the store with a true outcome, or marked
//! `interrupted`; and nothing is left on the machine.

use fireclay_tests::{Data, Server, census};
use model::{FaultCode, Outcome, RunResult};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often, when nobody says otherwise: `cargo xtask crashes N` does.
const TIMES: usize = 10;
/// How often, in the environment.
const TIMES_VARIABLE: &str = "FIRECLAY_CRASHES";
/// Clients that wait for their results, and as many that do not.
const CLIENTS: usize = 3;
/// The kill comes at a random moment of this time.
const LIFE_MS: u64 = 300;

/// What a client was told about a run.
enum Told {
    /// That it is on its way, and what its program says.
    Accepted(u64),
    /// How it ended: the whole answer.
    Settled(Value),
}

/// What the programs of all clients are told apart by.
static NEXT: AtomicU64 = AtomicU64::new(0);

#[test]
fn no_acknowledged_run_is_lost() {
    let times = std::env::var(TIMES_VARIABLE).ok().map_or(TIMES, |text| text.parse().expect("a number"));
    let data = Data::fresh();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..times {
        let server = Server::start_in(&data, &["--set", "concurrency=4", "--set", "tenant.queue=16"]);
        for (id, told) in std::mem::take(&mut told) {
            *fates.entry(check(&server, &id, &told)).or_default() += 1;
        }
        told = load_and_kill(&server);
        server.ended();
        data.wait_for_the_last_process();
        let orphans = census::abandoned();
        let swept = Server::start_in(&data, &[]);
        assert_eq!(swept.run(&json!({"language": "bash", "code": "echo on"})).stdout, "on\n");
        for unsettled in ["queued", "running"] {
            let (_, page) = swept.get_json(&format!("/v1/runs?state={unsettled}"));
            assert_eq!(page["items"], json!([]));
        }
        let left: Vec<_> = orphans.iter().filter(|leaf| leaf.path.exists()).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
        assert_eq!(std::fs::read_dir(data.path().join("incoming")).unwrap().count(), 0);
        drop(swept);
        assert_eq!(data.processes(), []);
    }
    assert_eq!(mounts(), before);
    println!("{times} times killed: {fates:?}");
}

/// Submits runs from all sides until the service is killed at some moment; returns what the clients were told.
fn load_and_kill(server: &Server) -> BTreeMap<String, Told> {
    let told = Mutex::new(BTreeMap::new());
    let random = u64::from_ne_bytes(sys::fs::random().unwrap()[..8].try_into().unwrap());
    std::thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let told = &told;
            scope.spawn(move || submit_until_it_dies(server, client < CLIENTS, told));
        }
        // Not a wait for anything: a moment like any other.
        std::thread::sleep(Duration::from_millis(random % LIFE_MS));
        server.signal(Signal::KILL);
    });
    told.into_inner().unwrap()
}

fn submit_until_it_dies(server: &Server, wait: bool, told: &Mutex<BTreeMap<String, Told>>) {
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let code = format!("echo {number}; echo {number} > file; exit {}", number % 200);
        let request = json!({"language": "bash", "code": code, "wait": wait}).to_string();
        let headers = [("content-type", "application/json")];
        let Ok(answer) = server.try_send("POST", "/v1/runs", &headers, request.as_bytes()) else { return };
        // A head without its body was no acknowledgement that a client could use.
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { return };
        let news = match answer.status {
            200 => Told::Settled(body.clone()),
            202 => Told::Accepted(number),
            // Told to come again, which is no acknowledgement.
            429 => continue,
            status => panic!("{status}: {body}"),
        };
        let id = body["id"].as_str().expect("a run has an id");
        told.lock().unwrap().insert(id.to_owned(), news);
    }
}

/// Holds the store to what a client was told; returns the fate of the run.
fn check(server: &Server, id: &str, told: &Told) -> &'static str {
    let (status, kept) = server.get_json(&format!("/v1/runs/{id}"));
    assert_eq!(status, 200, "{id} is lost or unsettled: {kept}");
    let result: RunResult = serde_json::from_value(kept.clone()).unwrap();
    let number = match told {
        Told::Settled(answer) => {
            assert_eq!(kept, *answer, "a client was told otherwise");
            result.stdout.trim().parse().unwrap()
        }
        Told::Accepted(number) => *number,
    };
    if let Some(fault) = &result.fault {
        assert!(
            matches!(told, Told::Accepted(_)) && fault.code == FaultCode::Interrupted && fault.retry_safe,
            "{result:?}"
        );
        return "interrupted";
    }
    let exit = (number % 200) as i32;
    let outcome = if exit == 0 { Outcome::Completed } else { Outcome::Failed };
    let wanted = (Some(outcome), Some(exit), format!("{number}\n"));
    assert_eq!((result.outcome, result.exit_code, result.stdout.clone()), wanted);
    let file = server.get(&format!("/v1/runs/{id}/artifacts/file"));
    assert_eq!(file, (200, format!("{number}\n").into_bytes()));
    if matches!(told, Told::Settled(_)) { "told" } else { "recorded" }
}

/// A process that is dead and not reaped is dead.
#[test]
fn the_census_sees_whose_maker_is_gone() {
    let maker = std::process::id();
    let leaf = census::Leaf { path: "/nowhere".into(), maker: Pid::from_raw(maker as i32).unwrap() };
    assert!(!leaf.is_orphaned());
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid::from_child(&child);
    let leaf = census::Leaf { maker: pid, ..leaf };
    assert!(!leaf.is_orphaned());
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    fireclay_tests::server::wait_for(&process);
    assert!(leaf.is_orphaned());
    child.wait().unwrap();
    assert!(leaf.is_orphaned());
}
