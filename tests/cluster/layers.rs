//! What runs need besides an image goes where they run, by digest: once for each node, and not with a byte that is wrong.

use super::lab::{Lab, Node};
use super::trust::Attacker;
use crate::api::packages::opened_for;
use async_nats::HeaderMap;
use fireclay_tests::Data;
use fireclay_tests::server::PATIENCE;
use serde_json::{Value, json};
use std::time::Instant;

const AWAY: [&str; 2] = ["--set", "cluster.worker=false"];
/// A worker that builds nothing: what its runs need must come.
const OFFLINE: [&str; 2] = ["--set", "packages.offline=true"];

fn build(gateway: &Node, definition: &Value) -> String {
    let (status, built) = gateway.ask("POST", "/v1/templates", definition);
    assert_eq!(status, 201, "{built}");
    built["version"].as_str().unwrap().to_owned()
}

/// The layers that came to a node, by digest, as its log tells them.
fn came(node: &Data) -> Vec<String> {
    let said = node.said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut came: Vec<String> = lines
        .filter(|line| line["message"] == "a layer has come")
        .map(|line| line["digest"].as_str().unwrap().to_owned())
        .collect();
    came.sort();
    came
}

/// The layers that a node keeps in a directory, by digest.
fn kept(node: &Data, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(node.path().join(directory)).into_iter().flatten().flatten();
    let mut kept: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.len() == 64)
        .collect();
    kept.sort();
    kept
}

fn of(template: &str, code: &str) -> Value {
    json!({ "language": "python", "template": template, "code": code })
}

const SHOWN: &str = "import os; print(open('/opt/template/a.txt').read(), os.environ['WORD'])";

#[test]
fn templates_and_packages_come_to_a_worker_that_never_built_them_once_for_all_that_ask() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let index = opened_for(&["pypi.org", "files.pythonhosted.org"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &[&AWAY[..], &["--set", &index]].concat());
    let worker = lab.worker(0, "w1", &Data::fresh(), &OFFLINE);
    let definition = |word: &str| json!({ "name": "mine-own", "env": { "WORD": word }, "files": [{ "path": "a.txt", "text": "laid down" }] });
    let old = build(&gateway, &definition("fire"));
    assert_eq!(kept(&worker.data, "template-layers/mine-own"), Vec::<String>::new());
    // All at once, so that all find that it is not there.
    let door = gateway.door();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let answer = super::lab::ask(&door.0, &door.1, "POST", "/v1/runs", &of("mine-own", SHOWN));
                assert_eq!(answer.unwrap().into_json().1["stdout"], "laid down fire\n");
            });
        }
    });
    let layers = kept(&gateway.data, "template-layers/mine-own");
    assert_eq!(layers.len(), 1);
    assert_eq!(came(&worker.data), layers, "it came, and once");
    assert_eq!(kept(&worker.data, "template-layers/mine-own"), layers);
    // A session of it, with packages over it, which its node finds by what it asks.
    let asked = json!({ "template": "mine-own", "packages": ["six==1.16.0"] });
    let (status, session) = gateway.ask("POST", "/v1/sessions", &asked);
    assert_eq!((status, &session["template"]), (201, &json!(format!("mine-own@{old}"))), "{session}");
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let code = json!({ "code": "import six, os; print(six.__version__, os.environ['WORD'])" });
    let (status, said) = gateway.ask("POST", &format!("{path}/runs"), &code);
    assert_eq!((status, &said["stdout"]), (200, &json!("1.16.0 fire\n")), "{said}");
    gateway.ask("DELETE", &path, &Value::Null);
    assert_eq!(came(&worker.data).len(), 2, "{}", worker.data.said());
    // Packages over it.
    let mut more = of("mine-own", "import six, os; print(six.__version__, os.environ['WORD'])");
    more["packages"] = json!(["six==1.16.0"]);
    for _ in 0..2 {
        assert_eq!(gateway.run(&more)["stdout"], "1.16.0 fire\n");
    }
    let mut all = [layers.clone(), kept(&gateway.data, "packages/local")].concat();
    all.sort();
    assert_eq!((all.len(), came(&worker.data)), (2, all));
    // What cannot be had is refused where it is asked for, as on one machine.
    let mut other = of("python", "import six");
    other["files"] = json!([{ "path": "pyproject.toml",
        "text": "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \"<3\"\n" }]);
    assert_eq!(gateway.ask("POST", "/v1/runs", &other).0, 422);
    // A name stands for its newest version there, too, and a version for itself.
    build(&gateway, &definition("clay"));
    assert_eq!(gateway.run(&of("mine-own", SHOWN))["stdout"], "laid down clay\n");
    assert_eq!(gateway.run(&of(&format!("mine-own@{old}"), SHOWN))["stdout"], "laid down fire\n");
    // Its files are the same, so they did not come again.
    assert_eq!(came(&worker.data).len(), 2);
}

#[test]
fn a_layer_with_a_wrong_byte_is_refused_and_stored_anew() {
    let lab = Lab::small(&["g1"], &["w1", "w2"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    build(
        &gateway,
        &json!({ "name": "mine", "env": { "WORD": "fire" }, "files": [{ "path": "a.txt", "text": "laid down" }] }),
    );
    let first = lab.worker(0, "w1", &Data::fresh(), &OFFLINE);
    assert_eq!(gateway.run(&of("mine", SHOWN))["stdout"], "laid down fire\n");
    drop(first.kill());
    // Who may write there changes the last byte of the file.
    let layer = kept(&gateway.data, "template-layers/mine").remove(0);
    let spoiler = Attacker::with(&lab, "gateway-g1");
    let (asked, subject) =
        (format!("$JS.API.DIRECT.GET.FC_LAYERS.fc.layer.{layer}.0"), format!("fc.layer.{layer}.0"));
    let good = spoiler.request(&asked, "").unwrap().payload.to_vec();
    assert!(good.ends_with(b"laid down"));
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    spoiler.publish(&subject, HeaderMap::new(), wrong.clone());
    let until = Instant::now() + PATIENCE;
    while spoiler.request(&asked, "").unwrap().payload != wrong {
        assert!(Instant::now() < until, "it is not stored");
    }
    let second = lab.worker(0, "w2", &Data::fresh(), &OFFLINE);
    let refused = gateway.run(&of("mine", SHOWN));
    let said = refused["fault"]["message"].as_str().unwrap_or_default();
    assert!(said.contains(&format!("what came is not {layer}")), "{refused}");
    assert_eq!(kept(&second.data, "template-layers/mine"), Vec::<String>::new());
    // The control, and the cure: its gateway doubts what is there, and stores it again for the next run.
    assert_eq!(gateway.run(&of("mine", SHOWN))["stdout"], "laid down fire\n");
    assert_eq!(spoiler.request(&asked, "").unwrap().payload, good);
}
