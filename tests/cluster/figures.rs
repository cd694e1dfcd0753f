//! What a cluster costs and gives, measured: `cargo xtask cluster-bench` writes `bench/CLUSTER.md`. In CI it is small and shows only that it
//! works: nothing here is asserted of times.

use super::lab::{Lab, Node, printing};
use super::tls::listen_between;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How many runs each figure is made from; and where the page is written, if it is.
const RUNS_VARIABLE: &str = "FIRECLAY_FIGURES";
const PAGE_VARIABLE: &str = "FIRECLAY_FIGURES_PAGE";
const RUNS: usize = 4;
const AWAY: [&str; 2] = ["--set", "cluster.worker=false"];
/// Places of each worker where runs wait.
const PLACES: usize = 4;

/// The middle of how long runs took, one after the other.
fn middle(count: usize, run: impl Fn(&Value) -> Value) -> Duration {
    let request = printing("x");
    // The first ones make what is made once.
    (0..4).for_each(|_| assert_eq!(run(&request)["stdout"], "x\n"));
    let mut took: Vec<_> = (0..count)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(run(&request)["outcome"], "completed");
            began.elapsed()
        })
        .collect();
    took.sort();
    took[count / 2]
}

/// How long it takes until so many runs that sleep are settled.
fn sleep_through(gateway: &Node, count: usize) -> Duration {
    let began = Instant::now();
    let request = json!({ "language": "bash", "code": "sleep 0.2" });
    let ids: Vec<_> = (0..count).map(|_| gateway.submit(&request)).collect();
    for id in ids {
        assert_eq!(gateway.wait_until(&id, "settled")["outcome"], "completed");
    }
    began.elapsed()
}

/// Waits until so many nodes are listed.
fn wait_for_nodes(gateway: &Node, count: usize) {
    let until = Instant::now() + fireclay_tests::server::PATIENCE;
    while gateway.ask("GET", "/v1/nodes", &Value::Null).1["items"].as_array().unwrap().len() < count {
        assert!(Instant::now() < until, "{count} nodes are not there");
        std::thread::yield_now();
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[test]
fn what_a_cluster_costs_and_gives() {
    let said = std::env::var(RUNS_VARIABLE).ok();
    let runs = said.as_deref().map_or(RUNS, |text| text.parse().expect("a number"));
    let is_small = said.is_none();
    let mut page = String::new();
    let mut row = |what: &str, value: String| writeln!(page, "| {what} | {value} |").unwrap();
    // The same runs on a service alone, and by three servers that keep three copies in files.
    let server = Server::start(&["--set", "pool.min=1", "--set", "pool.warm=[]"]);
    let alone = middle(runs, |request| server.post_json("/v1/runs", request).1);
    drop(server);
    row("one run after the other, a service alone, p50", ms(alone));
    let lab = Lab::three(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let worker = lab.worker(1, "w1", &Data::fresh(), &[]);
    let far = middle(runs, |request| gateway.run(request));
    row("the same by gateway and worker, three NATS servers, TLS, p50", ms(far));
    row("difference", format!("{:.1} ms", (far.as_secs_f64() - alone.as_secs_f64()) * 1000.0));
    row("memory of the gateway (RSS)", format!("{} MiB", gateway.resident_bytes() >> 20));
    row("memory of the worker (RSS)", format!("{} MiB", worker.resident_bytes() >> 20));
    drop((gateway, worker, lab));
    // What goes over the wire, by one server without TLS.
    let lab = Lab::small(&["g1"], &["w1"]);
    let (to_gateway, by_gateway) = listen_between(&lab);
    let (to_worker, by_worker) = listen_between(&lab);
    let gateway = lab.gateway_by(&to_gateway, 0, "g1", &Data::fresh(), &AWAY).unwrap();
    let worker = lab.worker_by(&to_worker, 0, "w1", &Data::fresh(), &[]);
    gateway.run(&printing("first"));
    let both = [("gateway", by_gateway), ("worker", by_worker)];
    let before = both.each_ref().map(|(_, heard)| heard.lock().unwrap().len());
    (0..runs).for_each(|_| drop(gateway.run(&printing("x"))));
    for ((who, heard), before) in both.iter().zip(before) {
        let heard = heard.lock().unwrap();
        let new = &heard[before..];
        let messages = new.split(|byte| *byte == b'\n').filter(|line| is_message(line)).count();
        let each = |count: usize| count as f64 / runs as f64;
        row(
            &format!("between the {who} and its server, for each run (with what both say anyway)"),
            format!("{:.0} bytes, {:.1} messages", each(new.len()), each(messages)),
        );
    }
    drop((gateway, worker, lab));
    // Runs that wait, with more and more workers.
    let names = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"];
    let lab = Lab::small(&["g1"], &names);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let mut workers = Vec::new();
    let mut one = None;
    let places = format!("concurrency={PLACES}");
    for wanted in if is_small { vec![1, 2] } else { vec![1, 2, 4, 8] } {
        while workers.len() < wanted {
            workers.push(lab.worker(0, names[workers.len()], &Data::fresh(), &["--set", &places]));
        }
        wait_for_nodes(&gateway, wanted + 1);
        let count = (runs / 8).max(1) * PLACES * wanted;
        let took = sleep_through(&gateway, count);
        let rate = count as f64 / took.as_secs_f64();
        let first = *one.get_or_insert(rate);
        row(
            &format!("runs that sleep 200 ms, {wanted} workers of {PLACES} places"),
            format!("{rate:.1} a second, {:.2} of {wanted} × one worker's", rate / first / wanted as f64),
        );
    }
    fireclay_tests::run::loudly(&page);
    if let Some(path) = std::env::var_os(PAGE_VARIABLE) {
        let head = "# What a cluster costs and gives\n\n`cargo xtask cluster-bench` wrote this: all nodes on one machine, JetStream in files, `sync_interval` as NATS has it (two minutes).\n\n\
                    **NOT QUIET** unless somebody saw to it: other programs may have run on the machine meanwhile.\n\n| what | measured |\n|---|---|\n";
        std::fs::write(path, format!("{head}{page}")).unwrap();
    }
}

/// Whether a line begins a message of NATS' protocol, in either direction.
fn is_message(line: &[u8]) -> bool {
    [&b"PUB "[..], b"HPUB ", b"MSG ", b"HMSG "].iter().any(|verb| line.starts_with(verb))
}
