//! `fireclay session`: a sandbox that stays, from the command line.

use fireclay_tests::{Data, Server};
use std::io::Write;
use std::process::{Output, Stdio};

fn session(data: &Data, args: &[&str]) -> Output {
    data.command(&["session"]).args(args).output().unwrap()
}

/// What a command that succeeds prints.
fn said(data: &Data, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = session(data, args);
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn failed(data: &Data, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = session(data, args);
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn what_one_run_leaves_the_next_one_finds() {
    let server = Server::start(&[]);
    let data = &server.data;
    let id = said(data, &["create", "--name", "mine"]);
    let id = id.trim();
    assert_eq!(said(data, &["run", "mine", "-c", "x = 41"]), "");
    assert_eq!(said(data, &["run", id, "-c", "print(x + 1)"]), "42\n");
    assert_eq!(said(data, &["run", id, "-l", "bash", "-c", "y=1; cd /tmp"]), "");
    assert_eq!(said(data, &["run", id, "-l", "bash", "-c", "echo $y; pwd"]), "1\n/tmp\n");
    assert_eq!(failed(data, &["run", id, "-c", "raise SystemExit(3)"]).0, Some(3));
    assert_eq!(
        failed(data, &["run", id, "--fresh", "-c", "print(x)"]).0,
        Some(1),
        "no state of the session's"
    );
    let (code, told) = failed(data, &["run", id, "-c", "while True: pass", "--timeout", "300ms"]);
    assert_eq!(code, Some(124));
    assert!(told.contains("timed_out after 300ms (--timeout)"), "{told}");
    assert_eq!(said(data, &["run", id, "-c", "print(x)"]), "41\n", "an interrupt keeps the state");
    let (code, told) = failed(data, &["run", id, "-c", "import os; os._exit(9)"]);
    assert_eq!(code, Some(9));
    assert!(told.contains("variables and imports are lost, files are kept"), "{told}");
    assert!(said(data, &["list"]).contains(id));
    said(data, &["close", id]);
    assert_eq!(said(data, &["list"]), "");
    assert!(said(data, &["list", "--all"]).contains("ended: closed"));
    let (code, told) = failed(data, &["show", "mine"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no open session has the id or name"), "{told}");
}

#[test]
fn files_go_in_and_out() {
    let server = Server::start(&[]);
    let data = &server.data;
    let here = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    let content: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    std::fs::write(here("in.bin"), &content).unwrap();
    let id = said(data, &["create"]);
    let id = id.trim();
    said(data, &["cp", &here("in.bin"), &format!("{id}:deep/")]);
    let moved = said(
        data,
        &["run", id, "-c", "import os; os.rename('deep/in.bin', 'ö 1'); print(os.stat('ö 1').st_size)"],
    );
    assert_eq!(moved, format!("{}\n", content.len()));
    said(data, &["cp", &format!("{id}:ö 1"), &here("out.bin")]);
    assert!(std::fs::read(here("out.bin")).unwrap() == content);
    assert!(said(data, &["ls", id]).contains("ö 1"));
    assert_eq!(said(data, &["ls", id, "--glob", "*.csv"]), "");
    let (code, told) = failed(data, &["cp", &format!("{id}:absent"), &here("nothing")]);
    assert_eq!(code, Some(2), "{told}");
    assert!(!std::path::Path::new(&here("nothing")).exists());
    assert_eq!(failed(data, &["cp", "a", "b"]).0, Some(2));
}

#[test]
fn a_prompt_reads_blocks_and_shows_values() {
    let server = Server::start(&[]);
    let id = said(&server.data, &["create"]);
    let mut command = server.data.command(&["session", "attach", id.trim()]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let typed = "def f(n):\n    return n * 2\n\nf(4)\n'a' * 3\n1/0\nNone\nprint('last')\n";
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(
        (status.code(), String::from_utf8(stdout).unwrap().as_str()),
        (Some(0), "8\n'aaa'\nlast\n"),
        "{stderr}"
    );
    assert!(stderr.contains("ZeroDivisionError"), "{stderr}");
    assert!(said(&server.data, &["list"]).contains(id.trim()), "it stays");
}

#[test]
fn without_a_service_it_says_what_to_do() {
    let (code, told) = failed(&Data::fresh(), &["list"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("start one with `fireclay serve`"), "{told}");
}
