//! `fireclay run` beside a service on the same data directory: who runs it shows in nothing but the time.

use crate::api::tenancy::Tenancy;
use fireclay_tests::{Data, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Output, Stdio};

fn run(data: &Data, args: &[&str]) -> Output {
    data.command(&["run"]).args(args).output().unwrap()
}

/// Runs that the service has done.
fn served(server: &Server) -> f64 {
    // Not how many are stored: records of runs beside it are taken into the store too.
    let (_, text) = server.get("/metrics");
    let text = String::from_utf8(text).unwrap();
    let counts = text.lines().filter(|line| line.starts_with("fireclay_runs_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// All files below a directory, with what is in them.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.extend(
                files(&path).into_iter().map(|(below, content)| (format!("{name}/{below}"), content)),
            );
        } else {
            found.insert(
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
    }
    found
}

#[test]
fn a_service_runs_it_and_nobody_sees_a_difference() {
    let server = Server::start(&[]);
    let input = server.data.path().join("input");
    std::fs::write(&input, "one\ntwo\n").unwrap();
    let input = input.to_str().unwrap();
    let cases: &[&[&str]] = &[
        &["-c", "print(1)"],
        &["-l", "bash", "-c", "echo out; sleep 0.1; echo err >&2; exit 3"],
        &["-l", "js", "-c", "console.log([1]); console.error('e'); process.exit(4)"],
        &["-c", "1/0"],
        &["-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)"],
        &["-c", "import sys; print('é€😀' * 9); sys.stderr.buffer.write(b'\\xff\\xc3')"],
        &["-c", "print('x' * 3_000_000)"],
        &["--output-limit", "100", "-c", "for number in range(100): print(number)"],
        &["--timeout", "300ms", "-c", "while True: pass"],
        &["--memory", "64MiB", "-c", "bytearray(10**9)"],
        &["-l", "bash", "-c", "kill -SEGV $$"],
        &["-c", "import sys; print(sys.stdin.read(), sys.argv)", "--stdin", input, "--arg", "a b"],
        &[
            "-c",
            "import os; print(os.getcwd(), os.environ['A'], open('input').read())",
            "--file",
            input,
            "--env",
            "A=b",
            "--cwd",
            "c",
        ],
        &["-c", "print(open('/workspace/in').read())", "--file", &format!("{input}:in")],
        &["-c", "print(1)", "--cwd", "../x"],
        &["--", "/nonexistent"],
    ];
    let mut different = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let before = served(&server);
        let (by_service, here) =
            (run(&server.data, case), run(&server.data, &[&["--local"], *case].concat()));
        // What is refused before anybody runs it is refused here.
        if index < 14 {
            assert_eq!(served(&server), before + 1.0, "{case:?}: {by_service:?}");
        }
        if by_service != here {
            different.push(format!("{case:?}\n--- by the service\n{by_service:?}\n--- here\n{here:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn files_come_back_from_the_service() {
    let server = Server::start(&[]);
    let code = "import os; os.makedirs('d/ü %#?'); open('d/ü %#?/a+b&c.bin', 'wb').write(bytes(range(256))); open('top', 'w').close()";
    let left = |flags: &[&str], name: &str| {
        let directory = server.data.path().join(name);
        let output =
            run(&server.data, &[flags, &["-c", code, "--artifacts", directory.to_str().unwrap()]].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        files(&directory)
    };
    let (by_service, here) = (left(&[], "served"), left(&["--local"], "here"));
    assert_eq!(by_service, here);
    assert_eq!(by_service.len(), 2);
    assert_eq!(served(&server), 1.0);
}

#[test]
fn an_interrupt_takes_the_run_back_from_the_service() {
    let server = Server::start(&[]);
    let mut child = server
        .data
        .command(&["run", "-l", "bash", "-c", "echo on; while :; do :; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), server.metric("fireclay_running")), ("on\n", 1.0));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(130), "fireclay: cancelled\n"));
    assert_eq!(server.metric("fireclay_running"), 0.0);
}

#[test]
fn a_reader_that_goes_ends_the_run_at_the_service() {
    let server = Server::start(&[]);
    let mut child = server
        .data
        .command(&["run", "--timeout", "1h", "-l", "bash", "-c", "while :; do echo on; sleep 0.05; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Its end of the pipe is closed by now.
    child.wait().unwrap();
    assert_eq!(server.metric("fireclay_running"), 0.0);
}

#[test]
fn what_a_service_cannot_do_is_run_here() {
    let server = Server::start(&[]);
    for args in [
        ["--local", "-c", "print(1)"].as_slice(),
        &["--no-record", "-c", "print(1)"],
        &["--stdin", "-", "-c", "print(1)"],
        &["--allow-missing", "landlock", "-c", "print(1)"],
    ] {
        let output = run(&server.data, args);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(0), b"1\n".as_slice()),
            "{args:?}"
        );
        assert_eq!(served(&server), 0.0, "{args:?}");
    }
    // A file that says where a service was is not one.
    let data = server.kill();
    assert!(data.path().join("server.json").exists());
    assert_eq!(run(&data, &["-c", "print(1)"]).stdout, b"1\n");
}

/// One who owns the data directory needs no key to run something in it.
#[test]
fn a_service_that_wants_a_key_is_left_alone_without_one() {
    let tenancy = Tenancy::start();
    let data = &tenancy.server.data;
    assert_eq!(run(data, &["-c", "print(1)"]).stdout, b"1\n");
    assert_eq!(served_by(&tenancy), 0);
    let output =
        data.command(&["run", "-c", "print(1)"]).env("FIRECLAY_API_KEY", &tenancy.a).output().unwrap();
    assert_eq!(output.stdout, b"1\n");
    assert_eq!(served_by(&tenancy), 1);
}

fn served_by(tenancy: &Tenancy) -> usize {
    tenancy.ask(&tenancy.a, "GET", "/v1/runs").1["items"].as_array().unwrap().len()
}
