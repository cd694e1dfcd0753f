//! `fireclay bench`: what it prints is complete and true to its form. How fast anything is, no test asks.

use fireclay_tests::{Data, Ordinary, Server};
use serde_json::Value;
use std::process::Command;

/// The tables that it prints as JSON.
fn tables(command: &mut Command) -> Vec<Value> {
    let output = command.args(["--rounds", "1", "--seconds", "1", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["machine"].as_str().unwrap().starts_with("Linux "), "{report}");
    report["tables"].as_array().unwrap().clone()
}

fn row<'a>(tables: &'a [Value], scenario: &str, name: &str) -> &'a Value {
    let rows = tables.iter().filter(|table| table["scenario"] == scenario).flat_map(|table| {
        let rows = table["rows"].as_array().unwrap();
        rows.iter()
    });
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {tables:?}"))
}

#[test]
fn every_scenario_that_is_named_has_its_rows_and_nothing_stays() {
    let data = Data::fresh();
    let names = |data: &Data| -> Vec<_> {
        let entries = std::fs::read_dir(data.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&data);
    let tables = tables(&mut data.command(&["bench", "batch", "cold", "fork", "layers", "sessions"]));
    // In their own order, whatever the caller's.
    let scenarios: Vec<&str> = tables.iter().map(|table| table["scenario"].as_str().unwrap()).collect();
    assert_eq!(
        scenarios,
        ["cold", "layers", "fork", "batch", "sessions", "sessions", "sessions", "sessions"]
    );
    let python = row(&tables, "cold", "python");
    let (ours, bare) = (python["fireclay_p50_ms"].as_f64().unwrap(), python["bare_p50_ms"].as_f64().unwrap());
    assert!(ours > 0.0 && bare > 0.0);
    // Reading a number that was written may change its last digit.
    assert!((python["x_bare"].as_f64().unwrap() - ours / bare).abs() < 1e-9, "{python}");
    let batch = row(&tables, "batch", "python, bash, Node");
    assert_eq!((batch["items"].as_f64(), batch["lost"].as_f64()), (Some(50.0), Some(0.0)), "{batch}");
    for (scenario, name) in [("layers", "- all of these"), ("fork", "fork(), run, wait: no isolation")] {
        assert!(row(&tables, scenario, name).as_object().unwrap().len() > 2);
    }
    let idle = row(&tables, "sessions", "python");
    assert_eq!(
        (idle["wrong"].as_f64(), idle["PSS_KiB"].as_f64().map(|kib| kib > 0.0)),
        (Some(0.0), Some(true)),
        "{idle}"
    );
    assert!(row(&tables, "sessions", "a run")["fireclay_p50_ms"].as_f64().unwrap() > 0.0);
    assert!(row(&tables, "sessions", "in")["MB_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(names(&data), before);
    assert_eq!(data.processes(), []);
}

#[test]
fn a_service_that_runs_is_measured_and_left_as_it_is() {
    let server = Server::start(&[]);
    let mut command = server.data.command(&["bench", "memory", "warm", "--url", &server.url("")]);
    let tables = tables(&mut command);
    assert!(row(&tables, "warm", "python, 16 clients")["fireclay_per_s"].as_f64().unwrap() > 0.0);
    assert!(row(&tables, "warm", "python, burst of 256")["fireclay_ms"].as_f64().unwrap() > 0.0);
    for (scenario, name) in [("memory", "sandbox"), ("warm", "python, pool empty")] {
        assert!(row(&tables, scenario, name)["note"].as_str().unwrap().contains("leave out --url"));
    }
    assert!(server.metric("fireclay_stored_runs") > 256.0);
}

#[test]
fn an_ordinary_user_is_told_what_only_root_can_measure() {
    let Some(user) = Ordinary::prepare() else { return };
    let tables = tables(user.fireclay().args(["bench", "cold", "fork"]));
    assert!(row(&tables, "cold", "bash")["fireclay_p50_ms"].as_f64().unwrap() > 0.0);
    assert!(row(&tables, "fork", "engine")["note"].as_str().unwrap().contains("root"));
}

#[test]
fn mistakes_are_named() {
    let data = Data::fresh();
    for (args, named) in [
        (&["bench", "hot"][..], "hot"),
        (&["bench", "--rounds", "0"], "--rounds"),
        (&["bench", "warm", "--url", "https://localhost"], "http://HOST:PORT"),
    ] {
        let output = data.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(named), "{said}");
    }
}
