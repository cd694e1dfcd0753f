//! Schemathesis against `/openapi.json`: whatever is sent, no 5xx, no status and no body that is not described.

use fireclay_tests::Server;
use fireclay_tests::run::target;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// From PyPI.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Requests of each kind for each operation; a seed, so that a failure is seen again.
const EXAMPLES: &str = "30";
const SEED: &str = "1";

/// A cursor that was never given out, a time that is past, an outcome and a fault at once: well-formed, and refused for reasons that
/// no schema can say.
const BEYOND_SCHEMAS: &str = "positive_data_acceptance";

/// A line of a batch that is wrong is answered on its own line: the batch is accepted.
const LINES_APART: &str = "positive_data_acceptance,negative_data_rejection";
/// The route of batches.
const BATCHES: &str = "/v1/batches";
/// Likewise of traces that are taken in.
const IMPORT: &str = "/v1/traces/import";

/// Where schemathesis finds what it is told about our bodies.
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api");
/// The route that takes keys away.
const REVOKE: &str = "/v1/keys/{id}";
/// Goes on as long as its reader listens; tests/api/sessions_archive.rs has it.
const WATCH: &str = "/v1/sessions/{id}/watch";
/// Likewise; tests/api/traces.rs has it.
const FOLLOW: &str = "/v1/traces/events";

/// The program, in a virtual environment below `target/` that is made once.
fn schemathesis() -> PathBuf {
    let venv = target().join(SCHEMATHESIS);
    let program = venv.join("bin/schemathesis");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(venv.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            SCHEMATHESIS,
        ]));
    }
    program
}

/// Runs a command to its good end; returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

#[test]
fn whatever_is_sent_is_answered_as_described() {
    let program = schemathesis();
    // Random programs are short-lived: what is tested is the door.
    let server = Server::start(&["--set", "ceiling.timeout_ms=200", "--set", "limits.timeout_ms=200"]);
    let (status, key) = server.post_json("/v1/keys", &json!({"role": "admin"}));
    assert_eq!(status, 201, "{key}");
    let header = format!("authorization: Bearer {}", key["key"].as_str().unwrap());
    let said = |beyond: &str, only: &[&str]| {
        let mut command = Command::new(&program);
        command
            .current_dir(server.data.path())
            .envs([
                ("SCHEMATHESIS_HOOKS", "schemathesis_hooks"),
                ("PYTHONPATH", HOOKS),
                ("PYTHONDONTWRITEBYTECODE", "1"),
            ])
            .args(["run", &server.url("/openapi.json"), "--header", &header])
            .args(["--checks", "all", "--exclude-checks", beyond, "--request-timeout", "60"])
            .args([
                "--phases",
                "examples,coverage,fuzzing,stateful",
                "--max-examples",
                EXAMPLES,
                "--seed",
                SEED,
            ])
            .args(["--generation-database", "none", "--no-color", "--continue-on-failure"])
            .args(only);
        run(&mut command)
    };
    println!(
        "{}",
        said(
            BEYOND_SCHEMAS,
            &[REVOKE, BATCHES, IMPORT, WATCH, FOLLOW].map(|path| ["--exclude-path", path]).concat()
        )
    );
    println!("{}", said(LINES_APART, &["--include-path", BATCHES, "--include-path", IMPORT]));
    // Last, since it may find the very key that all requests are made with.
    println!("{}", said(BEYOND_SCHEMAS, &["--include-path", REVOKE]));
}
