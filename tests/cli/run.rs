//! `fireclay run`: output, exit codes, limits, files, mistakes.

use fireclay_tests::run::{command, feed};
use fireclay_tests::{Data, Ran, Server, fireclay, image};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

fn run(args: &[&str]) -> Ran {
    fireclay(&[&["run"], args].concat(), b"")
}

fn json(args: &[&str]) -> Value {
    let ran = run(&[args, &["--json"]].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn python_prints_and_exits_0() {
    let ran = run(&["-c", "print(1)"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "1\n", ""));
}

#[test]
fn every_language_and_alias_runs() {
    for (language, code) in [
        ("python", "print(40+2)"),
        ("PY", "print(40+2)"),
        ("bash", "echo $((40+2))"),
        ("sh", "echo 42"),
        ("javascript", "console.log(40+2)"),
        ("node", "console.log(42)"),
        ("typescript", "const x: number = 42; console.log(x)"),
    ] {
        let ran = run(&["-l", language, "-c", code]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "42\n", ""), "{language}");
    }
}

#[test]
fn the_exit_code_is_the_codes_own() {
    assert_eq!(run(&["-c", "raise SystemExit(7)"]).code, 7);
    assert_eq!(run(&["-l", "bash", "-c", "exit 255"]).code, 255);
    assert_eq!(run(&["-l", "js", "-c", "process.exit(3)"]).code, 3);
    let ran = run(&["-l", "bash", "-c", "kill -SEGV $$"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (139, "fireclay: signalled: SIGSEGV ended the program\n"));
}

#[test]
fn streams_stay_apart() {
    let ran = run(&["-l", "bash", "-c", "echo out; echo err >&2; echo more"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nmore\n", "err\n"));
}

#[test]
fn the_value_of_the_code_is_in_the_result() {
    assert_eq!(json(&["-c", "x = 6\nx * 7"])["result"]["application/json"], 42);
    assert_eq!(json(&["-c", "result = 'a'"])["result"]["text/x-str"], "a");
    assert_eq!(json(&["-c", "import asyncio\nawait asyncio.sleep(0, 5)"])["result"]["text/plain"], "5");
    assert_eq!(
        json(&["-l", "js", "-c", "[1, 2].map((x) => x + 1)"])["result"]["application/json"],
        serde_json::json!([2, 3])
    );
    assert_eq!(json(&["-l", "js", "-c", "await Promise.resolve(7)"])["result"]["text/plain"], "7");
    assert_eq!(json(&["-c", "print(1)"])["result"], Value::Null);
}

#[test]
fn an_exception_is_told_as_the_interpreter_tells_it() {
    let result = json(&["-c", "def f():\n    return 1 / 0\nf()"]);
    assert_eq!((&result["outcome"], &result["exit_code"]), (&"failed".into(), &1.into()));
    assert_eq!(result["error"]["name"], "ZeroDivisionError");
    assert_eq!(result["error"]["message"], "division by zero");
    assert_eq!(result["error"]["traceback"], result["stderr"]);
}

#[test]
fn output_streams_as_it_comes() {
    let mut child = command(image())
        .args(["run", "--stdin", "-", "-l", "bash", "-c", "echo first; read line; echo $line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut first = [0; 6];
    // The program waits for us, and we for its first line: only a stream can get past this.
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    stdin.write_all(b"second\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("second\n", Some(0)));
}

#[test]
fn files_arguments_environment_and_input_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let local = directory.path().join("data.csv");
    std::fs::write(&local, "a,b\n1,2\n").unwrap();
    let file = format!("{}:in/data.csv", local.display());
    let code = "import sys, os; print(open('in/data.csv').read(), sys.argv[1:], os.environ['WHO'], input(), os.getcwd())";
    let args = [
        "run", "-c", code, "--file", &file, "--arg", "x y", "--arg", "-z", "--env", "WHO=me", "--stdin", "-",
    ];
    let ran = fireclay(&args, b"line\n");
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "a,b\n1,2\n ['x y', '-z'] me line /workspace\n", "")
    );
}

#[test]
fn a_program_is_a_file_or_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("tool");
    std::fs::write(&script, "#!/usr/bin/env bash\necho $0 $1\n").unwrap();
    assert_eq!(run(&[script.to_str().unwrap(), "one"]).stdout, "/workspace/tool one\n");
    assert_eq!(fireclay(&["run", "-", "-l", "python"], b"print(__file__)").stdout, "/workspace/main.py\n");
}

#[test]
fn artifacts_are_listed_and_copied() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let code = "mkdir -p a; echo hi > a/b.txt; echo x > new.json; ln -s /etc/passwd link; mkfifo pipe; : > main.sh; true";
    let result = json(&["-l", "bash", "-c", code, "--artifacts", out.to_str().unwrap()]);
    let listed: Vec<(&str, i64, &str)> = result["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| {
            (left["path"].as_str().unwrap(), left["bytes"].as_i64().unwrap(), left["mime"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("a/b.txt", 3, "text/plain"),
        ("main.sh", 0, "application/x-sh"),
        ("new.json", 2, "application/json"),
    ];
    assert_eq!(listed, expected);
    assert_eq!(std::fs::read_to_string(out.join("a/b.txt")).unwrap(), "hi\n");
    assert!(!out.join("link").exists() && !out.join("pipe").exists());
}

#[test]
fn each_limit_that_ends_a_run_has_its_outcome_and_code() {
    for (args, outcome, code) in [
        (vec!["-l", "bash", "-c", "echo kept; while :; do :; done", "--timeout", "300ms"], "timed_out", 124),
        (
            vec![
                "-c",
                "print('kept', flush=True)\nx = []\nwhile True: x.append(bytearray(1 << 22))",
                "--memory",
                "64MiB",
            ],
            "memory_exceeded",
            137,
        ),
        (vec!["-l", "bash", "-c", "echo kept; cat /dev/zero > f", "--disk", "1MiB"], "disk_exceeded", 1),
        (vec!["-l", "bash", "-c", "echo kept; yes", "--output-limit", "10KiB"], "output_exceeded", 137),
    ] {
        let ran = run(&args);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stdout.starts_with("kept\n"), "{ran:?}");
        assert!(ran.stderr.contains(&format!("fireclay: {outcome}")), "{ran:?}");
        let result = json(&args);
        assert_eq!(result["outcome"], outcome);
        assert!(!result["limits_hit"].as_array().unwrap().is_empty(), "{result}");
    }
}

#[test]
fn limits_that_a_program_survives_are_named_too() {
    let code = "import os, time\nfor _ in range(20):\n    try:\n        if os.fork() == 0: time.sleep(60)\n    except BlockingIOError: pass";
    let result = json(&["-c", code, "--processes", "8"]);
    assert_eq!(
        (&result["outcome"], &result["limits_hit"]),
        (&"completed".into(), &serde_json::json!(["processes"])),
        "{result}"
    );
    let result = json(&["-l", "bash", "-c", "cat /dev/zero > f; true", "--disk", "1MiB"]);
    assert_eq!(
        (&result["outcome"], &result["limits_hit"]),
        (&"completed".into(), &serde_json::json!(["disk"])),
        "{result}"
    );
}

#[test]
fn memory_and_disk_are_counted_apart() {
    // 40 MiB of files and 40 MiB of heap: more than either limit together, less than each.
    let code = "open('f', 'wb').write(bytes(40 << 20))\nx = bytearray(40 << 20)\nprint(len(x))";
    let ran = run(&["-c", code, "--memory", "72MiB", "--disk", "48MiB"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "41943040\n"), "{ran:?}");
}

#[test]
fn a_gigabyte_on_both_streams_is_drained_and_its_ends_are_kept() {
    let code = "echo start; head -c 1000000000 /dev/zero | tr '\\0' x & head -c 1000000000 /dev/zero | tr '\\0' y >&2 & wait; echo; echo end";
    let ran = run(&["-l", "bash", "-c", code, "--output-limit", "32MiB", "--timeout", "120s"]);
    assert_eq!(ran.code, 0, "{:.200}", ran.stderr);
    assert!(ran.stdout.starts_with("start\nxxx") && ran.stdout.ends_with("x\nend\n"));
    assert!(ran.stdout.contains("bytes omitted]") && ran.stderr.contains("bytes omitted]"));
    assert!(ran.stdout.len() < 49 << 20, "{}", ran.stdout.len());
}

#[test]
fn a_reader_that_stops_reading_does_not_hold_the_deadline() {
    let started = Instant::now();
    // More than is held of it, and far less than ends a run, however fast the machine is.
    let code = "head -c 200000000 /dev/zero; while :; do :; done";
    let mut child = command(image())
        .args(["run", "-l", "bash", "-c", code, "--timeout", "3s", "--output-limit", "64MiB"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The sandbox is gone while nobody reads; its supervisor still holds what it may yet deliver.
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 2];
    stdout.read_exact(&mut first).unwrap();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_closed_pipe_ends_the_program_as_it_would_a_plain_one() {
    let shell = format!(
        "{} --data {} run -l bash -c 'while echo line; do :; done' | head -n 1",
        binary(),
        image().display()
    );
    let ran = feed(std::process::Command::new("bash").args(["-c", &shell]), b"");
    assert_eq!((ran.stdout.as_str(), ran.code), ("line\n", 0), "{ran:?}");
}

fn binary() -> String {
    command(image()).get_program().to_string_lossy().into_owned()
}

#[test]
fn what_remains_in_the_background_ends_with_the_program() {
    let started = Instant::now();
    let ran = run(&["-l", "bash", "-c", "(sleep 300; echo late) & setsid sleep 300 & echo now"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "now\n"));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn mistakes_exit_2_and_name_field_and_fix() {
    for (args, message) in [
        (vec!["-c", "1", "-l", "cobol"], "unknown language"),
        (vec!["/nonexistent.py"], "fireclay: FILE: cannot read /nonexistent.py"),
        (vec!["-c", "1", "--file", "/nonexistent"], "fireclay: --file: cannot read /nonexistent"),
        (vec!["-c", "1", "--env", "NOVALUE"], "expected NAME=VALUE"),
        (vec!["-c", "1", "--timeout", "soon"], "use ms, s, m or h, as in 20s"),
        (vec!["-c", "1", "--timeout", "0s"], "fireclay: limits.timeout_ms: must be more than zero"),
        (vec!["-c", "1", "--memory", "many"], "use KiB, MiB or GiB, as in 512MiB"),
        (vec!["-c", "1", "--image", "none"], "fireclay: image: there is no image \"none\""),
        (vec!["-c", "1", "--file", "/etc/passwd:../x"], "the path has an empty part, . or .."),
        (vec!["-c", "1", "--cwd", "/etc"], "fireclay: cwd: the path is absolute"),
        (vec!["-c", "1", "--allow-missing", "walls"], "unknown layer"),
        (vec![], "required"),
    ] {
        let ran = run(&args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn inputs_that_do_not_fit_are_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let big = directory.path().join("big");
    // Few enough bytes, but with the code too many pages.
    std::fs::write(&big, vec![0; (1 << 20) - 1]).unwrap();
    let ran = run(&["-c", "1", "--disk", "1MiB", "--file", big.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("big does not fit into the disk limit; raise disk_bytes or send less"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_plan_is_printed_and_nothing_runs() {
    let ran = run(&["-l", "bash", "-c", "touch /tmp/ran", "--show-plan"]);
    let steps: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(ran.code, 0);
    assert!(steps.ends_with(&["no-new-privileges", "landlock", "seccomp"]), "{steps:?}");
}

#[test]
fn interrupting_cancels_and_leaves_nothing() {
    let mut child = command(image())
        .args(["run", "-l", "bash", "-c", "trap '' INT TERM; echo on; while :; do :; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 3];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn help_completions_and_the_manual_come_from_one_table() {
    let help = run(&["--help"]).stdout;
    for option in [
        "--timeout",
        "--memory",
        "--cpus",
        "--processes",
        "--disk",
        "--output-limit",
        "--artifacts",
        "--show-plan",
        "--raw",
    ] {
        assert!(help.contains(option), "{option}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                fireclay(&["completions", shell], b"").stdout.contains(option.trim_start_matches('-')),
                "{shell} {option}"
            );
        }
    }
    assert!(help.contains("Wall time [default: 20s]") && help.contains("[default: 512MiB]"), "{help}");
    assert!(fireclay(&["man"], b"").stdout.starts_with(".ie"));
}

#[test]
fn the_result_has_every_field_of_the_table() {
    let result = json(&["-c", "print(1)"]);
    let mut keys: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    insta::assert_snapshot!(keys.join(" "), @"artifacts created_at digests displays egress error exit_code fault findings id isolation language limits_hit metadata outcome result session signal state stderr stderr_truncated stdout stdout_truncated usage");
    insta::assert_snapshot!(result["isolation"]["layers"], @r#"["userns","pidns","mountns","netns","ipcns","utsns","cgroupns","cgroup","capabilities","no_new_privs","landlock","seccomp"]"#);
    for digest in ["code", "inputs", "image", "policy", "outputs"] {
        assert!(result["digests"][digest].as_str().unwrap().starts_with("sha256:"), "{digest}");
    }
    assert_eq!(result["digests"]["code"], format!("sha256:{}", sha256("print(1)")));
}

/// What `sha256sum` says of a text.
fn sha256(text: &str) -> String {
    let ran = feed(&mut std::process::Command::new("sha256sum"), text.as_bytes());
    ran.stdout.split_whitespace().next().unwrap().to_owned()
}

/// Records of one-shot runs in the spool of a data directory.
fn spooled(data: &Data) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.path().join("spool")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

fn run_in(data: &Data, code: &str) {
    let output = data.command(&["run", "-l", "bash", "-c", code]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// A service on this data directory comes to know of so many runs: it takes in what is left, too.
fn are_recorded(data: &Data, runs: f64) {
    Server::start_in(data, &[]).wait_for_metric("fireclay_stored_runs", runs);
}

#[test]
fn records_are_taken_in_when_there_are_many_and_none_is_lost() {
    let data = Data::fresh();
    for number in 1..64 {
        run_in(&data, "true");
        assert_eq!(spooled(&data).len(), number);
    }
    run_in(&data, "true");
    assert_eq!(spooled(&data).len(), 0);
    run_in(&data, "true");
    assert_eq!(spooled(&data).len(), 1);
    are_recorded(&data, 65.0);
}

#[test]
fn records_are_taken_in_when_one_is_old_or_they_are_large() {
    let data = Data::fresh();
    run_in(&data, "true");
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    std::fs::File::options().write(true).open(&spooled(&data)[0]).unwrap().set_modified(long_ago).unwrap();
    run_in(&data, "true");
    assert_eq!(spooled(&data).len(), 0);
    run_in(&data, "head -c 200M /dev/zero > first");
    assert_eq!(spooled(&data).len(), 1);
    run_in(&data, "head -c 80M /dev/zero > second");
    assert_eq!(spooled(&data).len(), 0);
    are_recorded(&data, 4.0);
}
