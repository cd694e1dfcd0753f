//! What `deploy/` has for Kubernetes: Helm itself renders the chart, and what comes out fits the schemas of what it is for.

use fireclay_tests::Data;
use fireclay_tests::run::target;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A Python with schemas, and Helm as a library.
fn tools() -> &'static (PathBuf, PathBuf) {
    static TOOLS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let script = root().join("scripts/chart-tools");
        let output = Command::new(script).env("CARGO_TARGET_DIR", target()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines = said.lines().map(PathBuf::from);
        (lines.next().unwrap(), lines.next().unwrap())
    })
}

/// What a script of this directory prints.
fn script(name: &str, args: &[&Path]) -> String {
    let script = root().join("tests/deploy").join(name);
    let output = Command::new(&tools().0).arg(script).args(args).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What Helm makes of these values: objects, or what it says against them.
fn render(values: &Value) -> Result<Vec<Value>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    let chart = root().join("deploy/helm/fireclay");
    let said = script("render.py", &[&tools().1, &chart, file.path()]);
    let said: Value = serde_json::from_str(&said).unwrap();
    match said["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(said["objects"].as_array().unwrap().clone()),
    }
}

/// What is wrong with objects.
fn problems(objects: &[Value]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!(objects).to_string()).unwrap();
    script("check.py", &[file.path()])
}

fn kinds(objects: &[Value]) -> Vec<String> {
    let name = |one: &Value| format!("{} {}", one["kind"], one["metadata"]["name"]).replace('"', "");
    let mut kinds: Vec<String> = objects.iter().map(name).collect();
    kinds.sort();
    kinds
}

fn set<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let is = |one: &&Value| one["kind"] == "StatefulSet" && one["metadata"]["name"] == name;
    objects.iter().find(is).unwrap()
}

fn all() -> Value {
    json!({
        "cluster": { "url": "nats://n1:4222,nats://n2:4222", "caSecret": "nats-ca" },
        "gateway": { "works": true, "settings": { "queue": 500, "packages.offline": true } },
        "autoscaling": { "enabled": true }, "monitoring": { "enabled": true },
        "nodeSelector": { "sandboxes": "yes" }, "tolerations": [{ "key": "sandboxes", "operator": "Exists" }]
    })
}

#[test]
fn the_chart_renders_and_what_comes_out_fits_its_schemas() {
    let plain = render(&json!({ "cluster": { "url": "nats://nats:4222" } })).unwrap();
    let usual = [
        "NetworkPolicy release-worker",
        "PodDisruptionBudget release-gateway",
        "Service release-gateway",
        "Service release-worker",
        "StatefulSet release-gateway",
        "StatefulSet release-worker",
    ];
    assert_eq!(kinds(&plain), usual);
    assert_eq!(set(&plain, "release-worker")["spec"]["replicas"], 2);
    assert_eq!(problems(&plain), "");
    // A gateway that runs nothing has no rights that sandboxes need.
    let rights = |set: &Value| {
        set["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"].clone()
    };
    assert_eq!(rights(set(&plain, "release-gateway")), Value::Null);
    assert_ne!(rights(set(&plain, "release-worker")), Value::Null);
    let whole = render(&all()).unwrap();
    let mut more = usual.map(str::to_owned).to_vec();
    more.extend(["ScaledObject release-worker".to_owned(), "ServiceMonitor release-gateway".to_owned()]);
    more.sort();
    assert_eq!(kinds(&whole), more);
    assert_eq!(problems(&whole), "");
    // KEDA decides how many there are.
    assert_eq!(set(&whole, "release-worker")["spec"]["replicas"], Value::Null);
    assert_ne!(rights(set(&whole, "release-gateway")), Value::Null);
    // The control: what does not fit is found, of each kind of schema.
    let mut spoilt = whole.clone();
    for one in &mut spoilt {
        match one["kind"].as_str().unwrap() {
            "StatefulSet" => one["spec"]["template"]["spec"]["containers"][0]["argz"] = json!([]),
            "ScaledObject" => one["spec"]["triggers"][0]["metadata"]["threshold"] = json!(4),
            "ServiceMonitor" => one["spec"]["endpoints"][0]["interval"] = json!("often"),
            "NetworkPolicy" => one["spec"]["policyTypes"] = json!("Ingress"),
            _ => {}
        }
    }
    let found = problems(&spoilt);
    for (kind, count) in
        [("StatefulSet", 4), ("ScaledObject", 1), ("ServiceMonitor", 1), ("NetworkPolicy", 2)]
    {
        assert_eq!(found.lines().filter(|line| line.starts_with(kind)).count(), count, "{kind}: {found}");
    }
}

#[test]
fn helm_refuses_values_that_make_no_sense() {
    let with = |part: &str, key: &str, value: Value| {
        let mut values = all();
        values[part][key] = value;
        render(&values).unwrap_err()
    };
    for (part, key, value, word) in [
        ("cluster", "url", json!(""), "url"),
        ("cluster", "url", json!("http://nats"), "url"),
        ("worker", "replica", json!(3), "replica"),
        ("worker", "drainTimeout", json!("soon"), "drainTimeout"),
        ("gateway", "storage", json!("much"), "storage"),
        ("autoscaling", "minReplicas", json!(11), "minReplicas"),
    ] {
        let said = with(part, key, value);
        assert!(said.contains(word), "{part}.{key}: {said}");
    }
}

#[test]
fn what_the_chart_starts_is_understood_by_what_it_starts() {
    let whole = render(&all()).unwrap();
    for name in ["release-gateway", "release-worker"] {
        let args = &set(&whole, name)["spec"]["template"]["spec"]["containers"][0]["args"];
        let args: Vec<String> = args
            .as_array()
            .unwrap()
            .iter()
            .map(|arg| {
                arg.as_str()
                    .unwrap()
                    .replace("$(POD_NAME)", &format!("{name}-0"))
                    .replace("0.0.0.0:8000", "127.0.0.1:0")
            })
            .collect();
        let data = Data::fresh();
        let output = data.command(&args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // All is read, up to the credential, which is not here.
        let kind = name.trim_start_matches("release-");
        assert!(said.contains(&format!("/etc/fireclay/credentials/{kind}-{name}-0.json")), "{name}: {said}");
        assert!(!output.status.success());
    }
}

#[test]
fn the_first_key_is_made_once() {
    let plain = render(&json!({ "cluster": { "url": "nats://nats:4222" } })).unwrap();
    let set = set(&plain, "release-gateway");
    let script = set["spec"]["template"]["spec"]["initContainers"][0]["args"][0].as_str().unwrap();
    let data = Data::fresh();
    let script = script.replace("/var/lib/fireclay", data.path().to_str().unwrap());
    let binary = data.command(&[]).get_program().to_owned();
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(std::fs::canonicalize(binary).unwrap(), programs.path().join("fireclay"))
        .unwrap();
    let run = || {
        let path = format!("{}:/usr/bin:/bin", programs.path().display());
        let output = Command::new("bash").args(["-euc", &script]).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(data.path().join("admin.key")).unwrap()
    };
    let key = run();
    assert!(key.trim().len() > 20, "{key:?}");
    assert_eq!(run(), key);
}

/// The metrics of a cluster that the chart and the rules name.
pub fn metrics_named() -> BTreeSet<String> {
    let files = ["deploy/helm/fireclay/templates/worker.yaml", "deploy/prometheus/cluster-alerts.yml"];
    let text: String = files.iter().map(|file| std::fs::read_to_string(root().join(file)).unwrap()).collect();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_name(c)).filter(|word| word.starts_with("fireclay_cluster_"));
    words.map(str::to_owned).collect()
}

#[test]
fn prometheus_reads_the_rules_of_a_cluster() {
    let rules = root().join("deploy/prometheus/cluster-alerts.yml");
    let output =
        Command::new("promtool").args(["check", "rules"]).arg(rules).output().expect("it is installed");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(metrics_named().len() >= 6, "{:?}", metrics_named());
}
