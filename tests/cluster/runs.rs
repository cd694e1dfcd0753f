//! Runs on other nodes: they come back whole, are taken back anywhere, and outlive their worker and their gateway.

use super::lab::{Lab, printing};
use fireclay_tests::Data;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Prints when it has begun, and waits to be ended.
fn waiting() -> Value {
    json!({ "language": "bash", "code": "echo begun; sleep 600", "limits": { "timeout_ms": 600_000 } })
}

#[test]
fn a_run_goes_to_a_worker_and_comes_back_whole() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &["--set", "cluster.worker=false"]);
    let worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    let code =
        "import sys; print('out'); print('err', file=sys.stderr); open('small', 'w').write('left'); 6 * 7";
    let result = gateway.run(&json!({ "language": "python", "code": code }));
    assert_eq!((&result["stdout"], &result["stderr"]), (&json!("out\n"), &json!("err\n")), "{result}");
    assert_eq!((&result["outcome"], &result["result"]["text/plain"]), (&json!("completed"), &json!("42")));
    let id = result["id"].as_str().unwrap();
    let left = gateway.try_ask("GET", &format!("/v1/runs/{id}/artifacts/small"), &Value::Null).unwrap();
    assert_eq!((left.status, left.body.as_slice()), (200, b"left".as_slice()));
    // Its trace says what its worker measured, and what that did before.
    let spans = |id: &Value| {
        let (_, found) = gateway.ask("GET", &format!("/v1/traces?of={}", id.as_str().unwrap()), &Value::Null);
        let trace = found["items"][0]["id"].as_str().unwrap();
        let (_, whole) = gateway.ask("GET", &format!("/v1/traces/{trace}"), &Value::Null);
        let children = whole["tree"][0]["children"].as_array().unwrap();
        children.iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let measured = ["lease", "fork", "execution", "artifacts"];
    assert_eq!(spans(&result["id"]), [&["admission", "check", "queue"], &measured[..]].concat());
    let compiled = |code: &str| gateway.run(&json!({ "language": "c", "code": code }));
    let (made, refused) = (compiled("int main(void) { return 3; }"), compiled("no"));
    assert_eq!(
        (&made["exit_code"], &refused["outcome"]),
        (&json!(3), &json!("setup_failed")),
        "{made} {refused}"
    );
    assert_eq!(spans(&made["id"]), [&["admission", "check", "queue", "compile"], &measured[..]].concat());
    assert!(spans(&refused["id"]).contains(&"compile".to_owned()));
    // Larger than a message, on both ways: it travels in chunks, checked by their digest.
    let text = "x".repeat(3 << 20);
    let request = json!({ "language": "python", "files": [{ "path": "in", "text": text }],
        "code": "data = open('in').read(); open('out', 'w').write(data[::-1] + 'end'); len(data)" });
    let result = gateway.run(&request);
    assert_eq!(result["result"]["text/plain"], "3145728", "{result}");
    let path = format!("/v1/runs/{}/artifacts/out", result["id"].as_str().unwrap());
    let out = gateway.try_ask("GET", &path, &Value::Null).unwrap();
    assert!(out.body.len() == (3 << 20) + 3 && out.body.ends_with(b"xend"));
    // It ran there, and nothing waits any more.
    gateway.wait_for_metric("fireclay_cluster_outstanding", |count| count == 0.0);
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 0.0);
    let (_, nodes) = gateway.ask("GET", "/v1/nodes", &Value::Null);
    let names: Vec<_> = nodes["items"].as_array().unwrap().iter().map(|node| node["name"].clone()).collect();
    // A gateway that does no work is a node too.
    assert_eq!(names, ["g1", "w1"]);
    worker.signal(Signal::TERM);
    assert!(worker.ended(), "a worker that is told to end ends well");
}

#[test]
fn what_is_taken_back_settles_wherever_it_is() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &["--set", "cluster.worker=false"]);
    // There is no worker: it waits.
    let queued = gateway.submit(&printing("never"));
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 1.0);
    gateway.ask("POST", &format!("/v1/runs/{queued}/cancel"), &Value::Null);
    assert_eq!(gateway.wait_until(&queued, "settled")["outcome"], "cancelled");
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 0.0);
    let _worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    let running = gateway.submit(&waiting());
    gateway.wait_until(&running, "running");
    gateway.ask("POST", &format!("/v1/runs/{running}/cancel"), &Value::Null);
    assert_eq!(gateway.wait_until(&running, "settled")["outcome"], "cancelled");
    assert_eq!(gateway.run(&printing("after"))["stdout"], "after\n");
}

#[test]
fn a_dead_workers_runs_are_done_by_another_unless_they_may_run_but_once() {
    let lab = Lab::small(&["g1"], &["w1", "w2"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &["--set", "cluster.worker=false"]);
    let first = lab.worker(0, "w1", &Data::fresh(), &[]);
    // The first time it waits; whoever runs it the second time finds the machine's clock moved on.
    let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let code = format!("(( $(date +%s) - {began} < 9 )) && sleep 600; echo done");
    let request = |repeatable: bool| json!({ "language": "bash", "code": code, "repeatable": repeatable, "limits": { "timeout_ms": 600_000 } });
    let (again, once) = (gateway.submit(&request(true)), gateway.submit(&request(false)));
    gateway.wait_until(&again, "running");
    gateway.wait_until(&once, "running");
    first.kill();
    let _second = lab.worker(0, "w2", &Data::fresh(), &[]);
    let again = gateway.wait_until(&again, "settled");
    assert_eq!((&again["outcome"], &again["stdout"]), (&json!("completed"), &json!("done\n")), "{again}");
    let once = gateway.wait_until(&once, "settled");
    assert_eq!(
        (&once["fault"]["code"], &once["fault"]["retry_safe"]),
        (&json!("interrupted"), &json!(false)),
        "{once}"
    );
}

#[test]
fn a_gateway_that_died_follows_its_runs_again() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &["--set", "cluster.worker=false"]);
    let waits = gateway.submit(&printing("waited"));
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 1.0);
    let data = gateway.kill();
    // Its result comes while there is no gateway.
    let _worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    let gateway = lab.gateway(0, "g1", &data, &["--set", "cluster.worker=false"]);
    let waited = gateway.wait_until(&waits, "settled");
    assert_eq!(
        (&waited["outcome"], &waited["stdout"]),
        (&json!("completed"), &json!("waited\n")),
        "{waited}"
    );
    assert_eq!(gateway.run(&printing("new"))["stdout"], "new\n");
}

#[test]
fn nodes_are_listed_cordoned_and_drained() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &[]);
    let worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    let nodes = |args: &[&str]| {
        let output = gateway.data.command(&["nodes"]).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let state = |name: &str, wanted: &str| {
        let until = std::time::Instant::now() + fireclay_tests::server::PATIENCE;
        loop {
            let (_, node) = gateway.ask("GET", &format!("/v1/nodes/{name}"), &Value::Null);
            if node["state"] == wanted {
                return;
            }
            assert!(std::time::Instant::now() < until, "{name} does not become {wanted}: {node}");
            std::thread::yield_now();
        }
    };
    state("g1", "ready");
    state("w1", "ready");
    let (code, text) = nodes(&["list"]);
    assert!(
        code == Some(0)
            && text.contains("g1  ready  gateway and worker")
            && text.contains("w1  ready  worker"),
        "{text}"
    );
    assert_eq!(nodes(&["cordon", "g1"]).0, Some(0));
    state("g1", "cordoned");
    assert_eq!(nodes(&["cordon", "nobody"]).0, Some(2));
    // All is done by the one that is left.
    assert_eq!(gateway.run(&printing("one"))["stdout"], "one\n");
    assert_eq!(nodes(&["drain", "w1"]).0, Some(0));
    assert!(worker.ended(), "a drained worker ends well");
    let waits = gateway.submit(&printing("two"));
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 1.0);
    assert_eq!(nodes(&["uncordon", "g1"]).0, Some(0));
    assert_eq!(gateway.wait_until(&waits, "settled")["stdout"], "two\n");
}

#[test]
fn a_gateway_that_is_told_to_end_leaves_runs_to_the_cluster() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let few = ["--set", "cluster.worker=false", "--set", "drain_timeout_ms=100ms"];
    let data = Data::fresh();
    let gateway = lab.gateway(0, "g1", &data, &few);
    let id = gateway.submit(&printing("after all"));
    gateway.wait_for_metric("fireclay_cluster_waiting", |count| count == 1.0);
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended());
    let _worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    let gateway = lab.gateway(0, "g1", &data, &few);
    let settled = gateway.wait_until(&id, "settled");
    assert_eq!(
        (&settled["outcome"], &settled["stdout"]),
        (&json!("completed"), &json!("after all\n")),
        "{settled}"
    );
}
