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
fn directories_go_in_and_out() {
    let server = Server::start(&[]);
    let data = &server.data;
    let here = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(here("project/src")).unwrap();
    std::fs::write(here("project/src/a.py"), "x = 1").unwrap();
    std::fs::write(here("project/run"), "echo 1").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", here("project/link")).unwrap();
    let id = said(data, &["create"]);
    let id = id.trim();
    let found = |at: &str| {
        let code = format!(
            "import os; print(sorted(os.path.join(d, f) for d, _, fs in os.walk('{at}') for f in fs))"
        );
        said(data, &["run", id, "-c", &code])
    };
    // To a new name, and into what is there.
    said(data, &["cp", &here("project"), &format!("{id}:copy")]);
    assert_eq!(found("copy"), "['copy/run', 'copy/src/a.py']\n");
    said(data, &["cp", &here("project"), &format!("{id}:copy")]);
    assert_eq!(found("copy/project"), "['copy/project/run', 'copy/project/src/a.py']\n");
    said(data, &["cp", &here("project"), &format!("{id}:")]);
    assert_eq!(found("project"), "['project/run', 'project/src/a.py']\n");
    // And out.
    said(data, &["cp", &format!("{id}:project/src"), &here("out")]);
    assert_eq!(std::fs::read(here("out/a.py")).unwrap(), b"x = 1");
    said(data, &["cp", &format!("{id}:project"), &here("out")]);
    assert_eq!(std::fs::read(here("out/project/src/a.py")).unwrap(), b"x = 1");
    let archive = session(data, &["cp", &format!("{id}:project"), "-"]);
    assert!(archive.status.success() && archive.stdout.len().is_multiple_of(512));
    let (code, told) = failed(data, &["cp", &format!("{id}:absent/"), &here("nothing")]);
    assert_eq!(code, Some(2), "{told}");
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

/// Types at the prompt as a person does, on a terminal; `until` waits for what the screen shows.
const PERSON: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def until(text):
    global seen
    while text not in seen:
        seen += os.read(terminal, 4096)
    seen = seen.split(text, 1)[1]
def types(line):
    os.write(terminal, line)
until(b">>> ")
types(b"name = input('na' 'me? ')\r")
until(b"name? ")
types(b"Ada\r")
until(b">>> ")
types(b"name.upper()\r")
until(b"'ADA'")
types(b"import time; print('o' 'n', flush=True); time.sleep(600)\r")
until(b"\non\r\n")
types(b"\x03")
until(b"KeyboardInterrupt")
until(b">>> ")
types(b"import sys; print('rea' 'dy', flush=True); sys.stdin.read()\r")
until(b"\nready\r\n")
types(b"all\r\x04")
until(b"'all\\n'")
until(b">>> ")
types(b"\x04")
status = os.waitpid(pid, 0)[1]
print(os.waitstatus_to_exitcode(status))
"#;

#[test]
fn at_a_terminal_input_reads_what_is_typed_and_ctrl_c_interrupts() {
    let server = Server::start(&[]);
    let id = said(&server.data, &["create"]);
    let attach = server.data.command(&["session", "attach", id.trim()]);
    let mut command = std::process::Command::new("timeout");
    command.args(["60", "python3", "-c", PERSON]).arg(attach.get_program()).args(attach.get_args());
    command.envs(attach.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Output { status, stdout, stderr } = command.output().unwrap();
    let told = String::from_utf8_lossy(&stderr);
    assert_eq!((status.code(), String::from_utf8_lossy(&stdout).as_ref()), (Some(0), "0\n"), "{told}");
}

#[test]
fn a_port_is_linked_to_if_the_session_asked() {
    let server = Server::start(&[]);
    let data = &server.data;
    let id = said(data, &["create", "--name", "web", "--ports"]);
    let host = format!("http://8000-{}.localhost:", id.trim().strip_prefix("ses_").unwrap());
    let url = said(data, &["open", "web", "8000"]);
    assert!(url.starts_with(&host) && url.contains("/.fireclay/enter?link=") && url.ends_with('\n'), "{url}");
    let link: serde_json::Value =
        serde_json::from_str(&said(data, &["open", "web", "8000", "--json"])).unwrap();
    assert!(link["origin"].as_str().unwrap().starts_with(&host), "{link}");
    assert_eq!(failed(data, &["open", "web", "0"]).0, Some(2));
    said(data, &["create", "--name", "shut"]);
    let (code, told) = failed(data, &["open", "shut", "8000"]);
    assert!(code == Some(2) && told.contains("\"ports\": true"), "{code:?} {told}");
}
