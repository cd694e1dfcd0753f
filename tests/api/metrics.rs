//! `/metrics`: what Debian's Prometheus makes of it, and of the rules and the dashboard of deploy/.

use super::tenancy::Tenancy;
use crate::docs::root;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Names of metrics in a text: words that begin with ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("fireclay_")).map(str::to_owned).collect()
}

fn metrics(keys: &Tenancy) -> String {
    keys.answer(&keys.admin, "GET", "/metrics", None).text().to_owned()
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let keys = Tenancy::start();
    keys.run(&keys.a);
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics(&keys).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    let rules = Command::new("promtool")
        .arg("check")
        .arg("rules")
        .arg(root().join("deploy/prometheus/alerts.yml"))
        .output();
    let rules = rules.unwrap();
    assert!(rules.status.success(), "{rules:?}");
}

#[test]
fn rules_and_the_dashboard_ask_for_what_there_is() {
    let keys = Tenancy::start();
    keys.run(&keys.a);
    let there = named(&metrics(&keys));
    assert!(there.len() > 15, "{there:?}");
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/fireclay.json"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let asked = named(&text);
        assert!(asked.len() > 4, "{file}: {asked:?}");
        assert_eq!(asked.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
    let dashboard = std::fs::read_to_string(root().join("deploy/grafana/fireclay.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(dashboard["uid"], "fireclay");
}

/// Ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn prometheus_scrapes_it_with_a_key() {
    let keys = Tenancy::start();
    keys.run(&keys.a);
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, &keys.admin).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nrule_files: [{rules:?}]\nscrape_configs:\n- job_name: fireclay\n  authorization: {{credentials_file: {key:?}}}\n  static_configs: [{{targets: [\"{target}\"]}}]\n",
        rules = root().join("deploy/prometheus/alerts.yml"),
        target = keys.server.address(),
    );
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    let mut child =
        command.args(["--web.listen-address=127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let _prometheus = Prometheus(child);
    // It says where it listens: `address=127.0.0.1:PORT`.
    let mut lines = lines.map_while(Result::ok);
    let address = lines
        .find_map(|line| {
            let listens = line.contains("Listening on");
            let at = line.split_once("address=127.0.0.1:").filter(|_| listens)?.1;
            Some(at.split(|char: char| !char.is_ascii_digit()).next()?.to_owned())
        })
        .expect("it ended");
    std::thread::spawn(move || lines.for_each(drop));
    let url = format!("http://127.0.0.1:{address}/api/v1/query?query=sum(fireclay_runs_total)");
    let found = loop {
        // Asked until the first scrape is in: nothing says so.
        let Ok(answer) = fireclay_tests::http::send("GET", &url, &[], b"") else { continue };
        if answer.status != 200 {
            continue;
        }
        let (_, found) = answer.into_json();
        if let Some(result) = found["data"]["result"].as_array().filter(|result| !result.is_empty()) {
            break result[0]["value"][1].clone();
        }
    };
    assert_eq!(found, "1");
}
