//! One batch of many small runs: every item is answered once with what is its own, in the order of its index when asked for, and
//! nothing is left of all those sandboxes.

use super::answered;
use fireclay_tests::{Server, census};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// How many items, when nobody says otherwise: `cargo xtask batch N` does.
const ITEMS: usize = 500;
/// How many, in the environment.
const ITEMS_VARIABLE: &str = "FIRECLAY_BATCH";

/// Files that the service opens when it first needs them, and keeps: the store's four connections for reading have two each.
const OPENED_LATER: usize = 8;

/// What a run could leave with the service or on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    mounts: String,
    /// Names in the data directory.
    names: BTreeSet<PathBuf>,
    /// Artifacts between a sandbox and the store.
    incoming: usize,
}

impl Left {
    fn now(server: &Server) -> Self {
        let list = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        Self {
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
            names: list(server.data.path().to_owned()).collect(),
            incoming: list(server.data.path().join("incoming")).count(),
        }
    }
}

/// Control groups of sandboxes whose makers are dead.
fn orphans() -> Vec<census::Leaf> {
    census::leaves().into_iter().filter(census::Leaf::is_orphaned).collect()
}

#[test]
fn a_large_batch_is_whole_in_order_and_leaves_nothing() {
    let count = std::env::var(ITEMS_VARIABLE).ok().map_or(ITEMS, |text| text.parse().expect("a number"));
    // The service, its spawner, who serves the proxies, and for each sandbox that always waits a keeper and an init: two for Python, one for Node, one for all else.
    let server = Server::start(&["--set", "pool.min=2"]);
    let at_rest = 3 + 2 * 4;
    let item = |index: usize| {
        json!({"id": format!("item {index}"), "program": {"language": "bash", "code": "read x; echo $((x + 1)); echo $x > file"},
            "cases": [{"stdin": format!("{index}\n"), "expected": (index + 1).to_string()}]})
    };
    let lines = |count: usize| (0..count).map(|index| format!("{}\n", item(index))).collect::<String>();
    let headers = [("content-type", "application/x-ndjson")];
    let submit = |count: usize| server.send("POST", "/v1/batches", &headers, lines(count).as_bytes());
    // What is made once and kept is there before anything is counted.
    assert_eq!(submit(20).status, 200);
    server.data.wait_until_no_more_than(at_rest);
    let (before, groups, resident) = (Left::now(&server), orphans(), server.resident_bytes());
    // Connections come and go.
    let sockets = server.sockets();
    let files = |server: &Server| server.descriptors().saturating_sub(server.sockets());
    let opened = files(&server);

    let started = Instant::now();
    let answer = submit(count);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(answer.status, 200);
    let (answers, summary) = answered(answer.text(), count);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["id"], &answer["verdict"]), (&json!(format!("item {index}")), &json!("passed")));
    }
    assert_eq!(summary["verdicts"], json!({"passed": count}));
    // Told again, they are in the order of their indexes.
    let first: Value = serde_json::from_str(answer.text().lines().next().unwrap()).unwrap();
    let (status, items) =
        server.get(&format!("/v1/batches/{}/items?limit=100000", first["batch"].as_str().unwrap()));
    assert_eq!(status, 200);
    let items = String::from_utf8(items).unwrap();
    let told: Vec<Value> = items.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told, answers);
    assert_eq!(server.metric("fireclay_stored_runs"), (count + 20) as f64);

    // The last keepers, and the connections to them and to us, are on their way out.
    server.data.wait_until_no_more_than(at_rest);
    server.wait_for_sockets(sockets);
    assert_eq!(Left::now(&server), before);
    assert!(files(&server) <= opened + OPENED_LATER, "{opened} files were open, now {}", files(&server));
    // Tests beside this one kill services, whose groups stay until the next service starts; ours would stay too.
    let left: Vec<_> = orphans().into_iter().filter(|leaf| !groups.contains(leaf)).collect();
    let grown = server.resident_bytes().saturating_sub(resident);
    println!(
        "{count} items in {seconds:.1} s, {:.0} in a second; no process, mount, file or artifact left, {} control groups; {grown} bytes more resident",
        count as f64 / seconds,
        left.len()
    );
    if std::env::var_os(ITEMS_VARIABLE).is_some() {
        assert_eq!(left, []);
    }
}
