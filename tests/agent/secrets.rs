//! Keys: kept for their owner alone, found, named when they are missing, and never shown.

use super::model::Model;
use super::{KEY, agent};
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Server};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[test]
fn without_a_key_it_names_the_variables() {
    let data = Data::fresh();
    let ran = feed(&mut data.command(&["agent", "2+2?"]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY"), "{ran:?}");
    let ran = feed(&mut data.command(&["agent", "2+2?", "--model", "groq"]), b"");
    assert!(ran.code == 2 && ran.stderr.contains("set GROQ_API_KEY"), "{ran:?}");
    let ran = feed(&mut data.command(&["agent", "2+2?", "--model", "gpt-5"]), b"");
    assert!(ran.code == 2 && ran.stderr.contains("there is no provider"), "{ran:?}");
}

#[test]
fn secrets_are_kept_for_their_owner_and_used() {
    let server = Server::start(&[]);
    let data = &server.data;
    let secret = |args: &[&str], stdin: &[u8]| feed(&mut data.command(&[&["secret"], args].concat()), stdin);
    assert_eq!(secret(&["set", "OPENAI_API_KEY"], format!("{KEY}\n").as_bytes()).code, 0);
    let mode = std::fs::metadata(data.path().join("secrets.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(secret(&["list"], b"").stdout, "OPENAI_API_KEY\n");
    let model = Model::saying(&json!([{"text": "hello"}]));
    let base_url = model.base_url("openai");
    let ran = feed(&mut data.command(&["agent", "--base-url", &base_url, "hi"]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "hello\n"), "{ran:?}");
    assert_eq!(model.requests()[0]["headers"]["authorization"], format!("Bearer {KEY}"));
    assert_eq!(secret(&["remove", "OPENAI_API_KEY"], b"").code, 0);
    assert_eq!(secret(&["remove", "OPENAI_API_KEY"], b"").code, 2);
    assert_eq!(secret(&["set", "lower case"], b"x").code, 2);
    assert_eq!(secret(&["set", "EMPTY"], b"\n").code, 2);
    std::fs::set_permissions(data.path().join("secrets.json"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    let ran = secret(&["list"], b"");
    assert!(ran.code == 2 && ran.stderr.contains("others can read it"), "{ran:?}");
}

#[test]
fn a_key_reaches_no_sandbox_no_model_and_no_output() {
    let server = Server::start(&[]);
    // The question has the key; code looks for it everywhere; the model and its provider repeat it.
    let code = "import os\nprint(dict(os.environ))\nprint(open('/proc/self/environ').read())\nprint('KEY'.replace('KEY', 'sk-test-' + '51Hq9Zk2Lw8Vb4Xc'))";
    let turns = json!([
        {"expect": ["[redacted]"], "calls": [{"name": "run_code", "arguments": {"code": code}}]},
        {"expect": ["[redacted]"], "text": format!("the key is {KEY}")},
    ]);
    let model = Model::saying(&turns);
    let ran = agent(&server, &model, "openai", &[&format!("use {KEY}"), "--log-level", "trace"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "the key is [redacted]\n"), "{ran:?}");
    assert!(!ran.stderr.contains(KEY), "{ran:?}");
    for request in model.requests() {
        assert!(!request["body"].to_string().contains(KEY), "{request}");
    }
    let model = Model::saying(&json!([{"status": 400, "error": {"message": format!("bad key {KEY}")}}]));
    let ran = agent(&server, &model, "openai", &["?"], b"");
    assert!(ran.code == 1 && ran.stderr.contains("bad key [redacted]"), "{ran:?}");
}

/// A key that a program prints is its caller's affair; what is recorded of it tells none.
#[test]
fn a_trace_tells_no_key_of_a_model() {
    let data = Data::fresh();
    let keep = ["secret", "set", "OPENAI_API_KEY"];
    assert_eq!(feed(&mut data.command(&keep), format!("{KEY}\n").as_bytes()).code, 0);
    let server = Server::start_in(&data, &[]);
    let run = server.run(&json!({"language": "python", "code": format!("print('{KEY}', 'plain')")}));
    assert_eq!(run.stdout, format!("{KEY} plain\n"));
    let (_, list) = server.get_json("/v1/traces");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap()));
    for told in [list.to_string(), trace.to_string()] {
        assert!(told.contains("plain") && !told.contains(KEY), "{told}");
    }
}
