//! What holds of tenants on one machine holds in a cluster: ceilings for all gateways together, and nobody waits behind another's flood.

use super::lab::{Lab, Node, ask, printing};
use super::trust::{Attacker, wait_for_count};
use fireclay_tests::Data;
use fireclay_tests::server::PATIENCE;
use serde_json::{Value, json};
use std::time::Instant;

/// Ends when it is taken back.
fn endless() -> Value {
    json!({ "language": "bash", "code": "sleep 600", "limits": { "timeout_ms": 600_000 } })
}

fn cancel(gateway: &Node, id: &str) {
    gateway.ask("POST", &format!("/v1/runs/{id}/cancel"), &Value::Null);
    gateway.wait_until(id, "settled");
}

/// The most of these spans that have a moment in common.
fn most_at_once(spans: &[(u64, u64)]) -> usize {
    let at = |moment: u64| spans.iter().filter(|(begun, ended)| (*begun..*ended).contains(&moment)).count();
    spans.iter().map(|(begun, _)| at(*begun)).max().unwrap_or(0)
}

#[test]
fn two_gateways_together_keep_a_ceiling() {
    let lab = Lab::small(&["g1", "g2", "g3"], &["w1"]);
    let wide = ["--set", "cluster.worker=false"];
    let narrow = [&wide[..], &["--set", "tenant.concurrency=2", "--set", "tenant.queue=10"]].concat();
    let data = Data::fresh();
    let (first, second) =
        (lab.gateway(0, "g1", &data, &narrow), lab.gateway(0, "g2", &Data::fresh(), &narrow));
    let _worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    // Each says when it began and ended, by the clock of its machine.
    let timed = json!({ "language": "bash", "code": "date +%s%N; sleep 0.2; date +%s%N" });
    let runs: Vec<(&Node, String)> = (0..12)
        .map(|n| if n % 2 == 0 { &first } else { &second })
        .map(|at| (at, at.submit(&timed)))
        .collect();
    let spans: Vec<(u64, u64)> = runs
        .iter()
        .map(|(at, id)| {
            let run = at.wait_until(id, "settled");
            let mut times = run["stdout"].as_str().unwrap().lines().map(|line| line.parse().unwrap());
            (times.next().unwrap(), times.next().unwrap())
        })
        .collect();
    assert!(most_at_once(&spans) <= 2, "{spans:?}");
    // The queue is one, too, as soon as one gateway has heard of the other.
    first.wait_for_metric("fireclay_cluster_elsewhere", |count| count == 0.0);
    let waiting: Vec<String> = (0..12).map(|_| first.submit(&endless())).collect();
    second.wait_for_metric("fireclay_cluster_elsewhere", |count| count == 12.0);
    assert_eq!(second.ask("POST", "/v1/runs", &printing("more")).0, 429);
    // The control: without a ceiling as many run at once as there are places.
    let third = lab.gateway(0, "g3", &Data::fresh(), &wide);
    let others: Vec<String> = (0..4).map(|_| third.submit(&endless())).collect();
    others.iter().for_each(|id| drop(third.wait_until(id, "running")));
    others.iter().for_each(|id| cancel(&third, id));
    // What a gateway was let have, the next process gives back.
    waiting.iter().skip(2).for_each(|id| cancel(&first, id));
    waiting.iter().take(2).for_each(|id| drop(first.wait_until(id, "running")));
    let operator = Attacker::with(&lab, "operator-operator");
    wait_for_count(&operator, "FC_SLOTS", 2);
    let first = lab.gateway(0, "g1", &first.kill(), &narrow);
    waiting.iter().take(2).for_each(|id| cancel(&first, id));
    wait_for_count(&operator, "FC_SLOTS", 0);
    assert_eq!(second.run(&printing("after"))["stdout"], "after\n");
}

/// A gateway with the key of one tenant.
struct Keyed<'a> {
    node: &'a Node,
    key: String,
}

impl Keyed<'_> {
    fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = ask(&self.node.url, &self.key, method, path, body).unwrap().into_json();
        assert!((200..300).contains(&status), "{method} {path}: {answer}");
        answer
    }

    fn submit(&self, request: &Value) -> String {
        let mut request = request.clone();
        request["wait"] = false.into();
        self.json("POST", "/v1/runs", &request)["id"].as_str().unwrap().to_owned()
    }

    fn wait_until(&self, id: &str, state: &str) {
        let until = Instant::now() + 2 * PATIENCE;
        while self.json("GET", &format!("/v1/runs/{id}"), &Value::Null)["state"] != state {
            assert!(Instant::now() < until, "{id} does not become {state}");
            std::thread::yield_now();
        }
    }

    fn count(&self, filter: &str) -> usize {
        let listed = self.json("GET", &format!("/v1/runs?limit=200&{filter}"), &Value::Null);
        listed["items"].as_array().unwrap().len()
    }

    fn metrics(&self) -> String {
        let answer = ask(&self.node.url, &self.key, "GET", "/metrics", &Value::Null).unwrap();
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    }

    /// Waits until `/metrics` has this line.
    fn wait_for(&self, line: &str) {
        self.wait_for_any(&[line]);
    }

    /// The same of one of these.
    fn wait_for_any(&self, lines: &[&str]) {
        let until = Instant::now() + PATIENCE;
        while !self.metrics().lines().any(|own| lines.contains(&own)) {
            assert!(Instant::now() < until, "none of {lines:?} in {}", self.metrics());
            std::thread::yield_now();
        }
    }
}

fn key(data: &Data, args: &[&str]) -> String {
    let made = data.command(&[&["key", "create"], args].concat()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn one_run_of_b_starts_at_the_next_release_though_a_waits_with_many_at_another_gateway() {
    let lab = Lab::small(&["g1", "g2"], &["w1"]);
    let (data_of_a, data_of_b) = (Data::fresh(), Data::fresh());
    let (admin_of_a, admin_of_b) =
        (key(&data_of_a, &["--role", "admin"]), key(&data_of_b, &["--role", "admin"]));
    let (key_of_a, key_of_b) = (key(&data_of_a, &["--tenant", "a"]), key(&data_of_b, &["--tenant", "b"]));
    let away = ["--set", "cluster.worker=false"];
    // The worker is there before there is a cluster, and says so in the form of its log.
    let (worker, first) = std::thread::scope(|scope| {
        let data = Data::fresh();
        let starting = scope.spawn({
            let (lab, data) = (&lab, data.clone());
            move || lab.worker(0, "w1", &data, &["--set", "concurrency=2"])
        });
        let until = Instant::now() + PATIENCE;
        while !data.said().contains("waiting for the first gateway") {
            assert!(Instant::now() < until, "{}", data.said());
            std::thread::yield_now();
        }
        let first = lab.gateway(0, "g1", &data_of_a, &away);
        (starting.join().unwrap(), first)
    });
    let said = worker.data.said();
    let line = said.lines().find(|line| line.contains("waiting for the first gateway")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["level"], "warn", "{line}");
    let second = lab.gateway(0, "g2", &data_of_b, &away);
    let (a, b) = (Keyed { node: &first, key: key_of_a }, Keyed { node: &second, key: key_of_b });
    let (at_a, at_b) = (Keyed { node: &first, key: admin_of_a }, Keyed { node: &second, key: admin_of_b });
    let running = [a.submit(&endless()), a.submit(&endless())];
    running.iter().for_each(|id| a.wait_until(id, "running"));
    at_a.wait_for("fireclay_cluster_free 0");
    (0..50).for_each(|_| drop(a.submit(&printing("a"))));
    // All wait at their gateway: none has a place in the queue before B.
    at_a.wait_for("fireclay_cluster_held 50");
    at_b.wait_for("fireclay_cluster_elsewhere 52");
    let single = b.submit(&endless());
    // In the queue, or at the worker, which asks for one ahead: there tenants take turns, too.
    at_b.wait_for_any(&["fireclay_cluster_waiting 1", "fireclay_cluster_taken 3"]);
    assert_eq!(a.count("state=queued"), 50);
    a.json("DELETE", &format!("/v1/runs/{}", running[0]), &Value::Null);
    b.wait_until(&single, "running");
    a.wait_until(&running[0], "settled");
    assert_eq!((a.count("state=settled"), a.count("state=running")), (1, 1), "of A nothing began since");
    // What an autoscaler sees: all that the chart and the rules ask for, and what is free by template.
    let metrics = at_a.metrics();
    let has = |name: &str| metrics.lines().any(|line| line.starts_with(name));
    assert!(has("fireclay_cluster_free_prepared{template=\"bash\"} 0"), "{metrics}");
    for name in crate::deploy::metrics_named() {
        assert!(has(&format!("{name} ")), "{name}: {metrics}");
    }
    // A goes on when there is room again.
    b.json("DELETE", &format!("/v1/runs/{single}"), &Value::Null);
    let until = Instant::now() + 2 * PATIENCE;
    while a.count("state=settled") != 51 {
        assert!(Instant::now() < until, "{} settled", a.count("state=settled"));
        std::thread::yield_now();
    }
}
