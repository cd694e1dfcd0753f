//! `fireclay top`: at a real terminal, which shrinks, while its service goes away and comes back; and where there is none.

use fireclay_tests::{Data, Ran, Server, run};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// `fireclay top` at a terminal of 80 columns and 24 lines, where these steps are taken: each waits for its words to appear after those of the one before.
fn at_a_terminal(server: &Server, term: &str, more: &[(&str, &str)], steps: &Value) -> Ran {
    let inner = server.data.command(&["top", "--url", &server.url(""), "--interval", "1"]);
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/top_terminal.py")).arg(steps.to_string());
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TERM", term);
    run::feed(command.envs(more.iter().copied()), b"")
}

#[test]
fn it_draws_what_goes_on_until_q_is_typed_and_leaves_the_terminal_as_it_was() {
    let server = Server::start(&[]);
    server.post_json("/v1/runs", &json!({"language": "python", "code": "print('fine')"}));
    server.post_json("/v1/runs", &json!({"language": "python", "code": "print('\\x1b]0;evil\\x07')\n1/0"}));
    let steps =
        json!([["failed lately", {"size": [10, 40]}], ["places", {"type": " "}], ["runs/s", {"type": "q"}]]);
    let ran = at_a_terminal(&server, "xterm", &[], &steps);
    assert_eq!(ran.code, 0, "{ran:?}");
    let screen = ran.stdout.strip_prefix("\x1b[?1049h\x1b[?25l").expect("a screen of its own");
    let (screen, rest) = screen.rsplit_once("\x1b[?25h\x1b[?1049l").expect("and back");
    assert!(rest.starts_with("same modes: True"), "{rest}");
    assert!(
        screen.contains("completed 1") && screen.contains("failed 1") && screen.contains("\x1b[31m"),
        "{screen}"
    );
    assert!(screen.contains("p50") && screen.contains("idle") && !screen.contains("\x1b]"), "{screen}");
    let frames: Vec<&str> = screen.split("\x1b[H").skip(1).collect();
    assert!(frames.iter().all(|frame| frame.split("\r\n").count() <= 24));
    assert!(frames.last().unwrap().split("\r\n").count() <= 10, "it is smaller now: {:?}", frames.last());
}

#[test]
fn it_waits_for_a_service_that_goes_away_and_comes_back() {
    let server = Server::start(&[]);
    server.post_json("/v1/runs", &json!({"language": "python", "code": "print('fine')"}));
    let (data, address) = (server.data.clone(), server.address().to_string());
    // The script ends the first one, and starts a second at the same address, which it ends, too.
    let again = data.command(&["serve", "--listen", &address]);
    let argv: Vec<String> = std::iter::once(again.get_program())
        .chain(again.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let steps = json!([
        ["completed 1", {"kill": server.pid().as_raw_nonzero().get()}],
        ["no answer", {"start": argv}],
        ["since the start", {"type": "q"}]
    ]);
    let ran = at_a_terminal(&server, "xterm", &[("NO_COLOR", "1")], &steps);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains("\x1b[31m"), "{ran:?}");
    // What was known is still shown while nobody answers.
    let frame = ran.stdout.split("\x1b[H").find(|frame| frame.contains("no answer")).unwrap();
    assert!(frame.contains("completed 1"), "{frame:?}");
}

#[test]
fn ctrl_c_and_a_signal_end_it_and_a_dumb_terminal_is_not_drawn_on() {
    let server = Server::start(&[]);
    for step in [json!({"type": "\u{3}"}), json!({"signal": 15})] {
        let ran = at_a_terminal(&server, "xterm", &[], &json!([["runs/s", step]]));
        assert!(ran.code == 0 && ran.stdout.contains("same modes: True"), "{ran:?}");
        assert!(ran.stdout.contains("\x1b[?1049l"), "{ran:?}");
    }
    let ran = at_a_terminal(&server, "dumb", &[], &json!([["nothing failed lately", {"signal": 15}]]));
    assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("runs/s"), "{ran:?}");
}

#[test]
fn one_view_is_for_programs_too() {
    let server = Server::start(&[]);
    server.post_json("/v1/runs", &json!({"language": "python", "code": "print('fine')"}));
    let top = |data: &Data, args: &[&str]| run::feed(&mut data.command(args), b"");
    let url = server.url("");
    let shown = top(&server.data, &["top", "--url", &url, "--once", "--json"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let look: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&look["error"], &look["traces"]["by_outcome"]), (&Value::Null, &json!({"completed": 1})));
    assert!(look["metrics"]["process_resident_memory_bytes"].as_f64().unwrap() > 1e6, "{look}");
    let shown = top(&server.data, &["top", "--url", &url, "--once"]);
    assert!(shown.code == 0 && shown.stdout.contains("outcomes    completed 1"), "{shown:?}");
    let data = server.data.clone();
    drop(server);
    let shown = top(&data, &["top", "--url", &url, "--once"]);
    assert!(shown.code == 70 && shown.stdout.contains("no answer"), "{shown:?}");
}
