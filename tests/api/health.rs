//! What watches the service: liveness, readiness, version, metrics.

use fireclay_tests::Server;
use fireclay_tests::server::PATIENCE;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn it_is_alive_ready_and_says_which_it_is() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz"), (200, b"ok\n".to_vec()));
    assert_eq!(server.get("/readyz"), (200, b"ready\n".to_vec()));
    let (status, version) = server.get_json("/version");
    assert_eq!((status, version["version"].as_str()), (200, Some(env!("CARGO_PKG_VERSION"))));
    assert!(version["image"].as_str().is_some_and(|digest| !digest.is_empty()));
    let (status, description) = server.get_json("/openapi.json");
    assert_eq!((status, description["openapi"].as_str().map(|version| &version[..4])), (200, Some("3.1.")));
}

/// Takes the database's only lock for writing, says so, and keeps it until its input ends.
const HOLD: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()";

#[test]
fn it_is_not_ready_while_nothing_can_be_written() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/readyz").0, 200);
    let database = server.data.path().join("fireclay.db");
    let mut command = Command::new("python3");
    command.arg("-c").arg(HOLD).arg(&database).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let until = Instant::now() + PATIENCE;
    // What was heard a moment ago holds for a second.
    let problem = loop {
        let answer = server.send("GET", "/readyz", &[], b"");
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < until, "it stays ready");
    };
    assert_eq!((problem.status, problem.header("content-type")), (503, "application/problem+json"));
    let (_, problem) = problem.into_json();
    assert_eq!((&problem["type"], &problem["retry_safe"]), (&json!("/problems/unavailable"), &json!(true)));
    // It lives, and many who ask do not make it worse.
    assert_eq!(server.get("/healthz").0, 200);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(server.get("/readyz").0, 503));
        }
    });
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    while server.get("/readyz").0 != 200 {
        assert!(Instant::now() < until, "it does not get ready again");
    }
    assert_eq!(server.run(&json!({"language": "bash", "code": "echo on"})).stdout, "on\n");
}

/// The text format 0.0.4: every sample has a type, labels are quoted, buckets only grow and end with all.
/// A histogram's own labels, without the bound of the bucket.
fn series_of(family: &str, labels: &str) -> String {
    let own = labels.trim_end_matches('}').split(',').filter(|label| !label.starts_with("le="));
    format!("{family} {}", own.collect::<Vec<_>>().join(","))
}

#[test]
fn metrics_are_text_that_prometheus_reads() {
    let server = Server::start(&[]);
    server.run(&json!({"language": "bash", "code": "true"}));
    server.run(&json!({"language": "python", "code": "1/0"}));
    let answer = server.send("GET", "/metrics", &[], b"");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut samples: BTreeMap<String, f64> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut buckets: BTreeMap<String, f64> = BTreeMap::new();
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && !help.is_empty(), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}: typed twice");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (name, labels) = sample.split_once('{').map_or((sample, ""), |(name, labels)| (name, labels));
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let kind = types.get(family).or(types.get(name));
        assert!(kind.is_some(), "{line}: no type before it");
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
        if name.ends_with("_bucket") {
            let before = buckets.insert(series_of(family, labels), value).unwrap_or(0.0);
            assert!(value >= before, "{line}: a bucket that shrinks");
        }
        let counted = name.strip_suffix("_count").map(|family| series_of(family, labels));
        if let Some(all) = counted.and_then(|series| buckets.get(&series)) {
            assert_eq!(*all, value, "{line}: the last bucket is not all");
        }
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}: told twice");
    }
    assert_eq!(samples[r#"fireclay_runs_total{language="bash",outcome="completed"}"#], 1.0);
    assert_eq!(samples[r#"fireclay_runs_total{language="python",outcome="failed"}"#], 1.0);
    assert_eq!((samples["fireclay_run_seconds_count"], samples["fireclay_running"]), (2.0, 0.0));
}

#[test]
fn every_answer_carries_the_headers_that_keep_browsers_off() {
    let server = Server::start(&[]);
    for path in ["/healthz", "/v1/runs", "/nothing", "/openapi.json"] {
        let answer = server.send("GET", path, &[], b"");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    }
}
