//! `fireclay batch`, with a service and without, broken off and gone on with.

use fireclay_tests::server::{Data, PATIENCE, Server};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Instant;

fn lines(count: usize) -> String {
    (0..count).map(|index| format!("{{\"language\":\"bash\",\"code\":\"echo {index}\"}}\n\n")).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The answers of a file: each item once, with its own output.
fn check(out: &Path, count: usize) {
    let text = fs::read_to_string(out).unwrap();
    let mut answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["index"].as_u64());
    assert_eq!(answers.len(), count, "{text}");
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(
            (answer["index"].as_u64(), answer["run"]["stdout"].as_str()),
            (Some(index as u64), Some(&*format!("{index}\n")))
        );
    }
}

#[test]
fn it_works_without_a_service_and_goes_on_after_a_kill() {
    let data = Data::fresh();
    let (file, out) = (data.path().join("in.jsonl"), data.path().join("out.jsonl"));
    fs::write(&file, lines(300)).unwrap();
    let args = ["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let mut first = data.command(&args).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while fs::read_to_string(&out).unwrap_or_default().lines().count() < 20 {
        assert!(Instant::now() < until, "no answers came");
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // As a crash of the machine may leave it.
    let mut text = fs::read_to_string(&out).unwrap();
    let before = text.lines().count();
    assert!(before < 300, "it was over before it was killed");
    text.push_str("{\"index\":29");
    fs::write(&out, text).unwrap();
    let second = data.command(&args).output().unwrap();
    assert_eq!(second.status.code(), Some(0), "{}", said(&second));
    check(&out, 300);
    // Nothing is left to be done.
    let third = data.command(&args).output().unwrap();
    assert_eq!(third.status.code(), Some(0), "{}", said(&third));
    check(&out, 300);
}

#[test]
fn it_asks_the_service_of_the_data_directory_and_does_faults_again() {
    let server = Server::start(&[]);
    let (file, out) = (server.data.path().join("in.jsonl"), server.data.path().join("out.jsonl"));
    fs::write(&file, lines(10)).unwrap();
    let fault =
        "{\"index\":3,\"verdict\":\"fault\",\"retry_safe\":true}\n{\"index\":4,\"verdict\":\"cancelled\"}\n";
    fs::write(&out, fault).unwrap();
    let args = ["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--concurrency", "2"];
    let ran = server.data.command(&args).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    check(&out, 10);
    let (_, listed) = server.get_json("/v1/batches");
    assert_eq!(listed["items"][0]["total"], 10);
}

#[test]
fn what_cannot_be_used_is_said() {
    let data = Data::fresh();
    let absent = data.command(&["batch", "/nonexistent"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(2), "{}", said(&absent));
    let file = data.path().join("in.jsonl");
    fs::write(&file, "{\"language\":\"bash\",\"cod\":\"\"}\n").unwrap();
    let wrong = data.command(&["batch", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    let answer: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!(answer["problem"]["field"], "cod");
    let url =
        data.command(&["batch", file.to_str().unwrap(), "--url", "https://example.org"]).output().unwrap();
    assert_eq!(url.status.code(), Some(2), "{}", said(&url));
}
