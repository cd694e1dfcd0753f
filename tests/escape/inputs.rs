//! Hostile requests: what is refused before anything runs, and what is taken as the data it is.

use fireclay_tests::run::{driver, feed, interactive};
use fireclay_tests::{Order, drive, fireclay};
use model::{Language, LimitsPatch, Outcome, RunRequest};
use std::io::Write;
use std::process::ChildStdin;

/// As for any run: see `attack.rs`.
const SUPERVISOR_BYTES: u64 = 32 << 20;

fn python(code: &str) -> Order {
    let request = RunRequest { language: Some(Language::Python), code: code.into(), ..RunRequest::default() };
    Order { request, ..Order::default() }
}

/// Why an order is refused.
fn refusal(order: &Order) -> String {
    let ran = feed(&mut driver(), &serde_json::to_vec(order).expect("an order is plain data"));
    assert_eq!(ran.stdout, "", "{order:?} was run");
    ran.stderr.trim_end().to_owned()
}

#[test]
fn in_01_too_much_code_is_rejected() {
    let ran = fireclay(&["run", "-l", "python", "-"], &vec![b' '; 8 << 20]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}

#[test]
fn in_02_nul_bytes_are_data_in_code_and_refused_in_words() {
    let result = drive(&python("print(1)\0print(2)"));
    assert_eq!((result.outcome, result.stdout.as_str()), (Some(Outcome::Failed), ""));
    let mut args = python("1");
    args.request.args = vec!["a\0b".into()];
    let mut env = python("1");
    env.request.env = [("A".to_owned(), "\0".to_owned())].into();
    let mut name = python("1");
    name.request.env = [("A\0".to_owned(), String::new())].into();
    let mut cwd = python("1");
    cwd.request.cwd = Some("a\0".into());
    for (order, field) in [(args, "args"), (env, "env"), (name, "env"), (cwd, "cwd")] {
        assert!(refusal(&order).starts_with(&format!("Error: {field}")), "{order:?}: {}", refusal(&order));
    }
}

#[test]
fn in_03_code_that_is_no_text_is_rejected() {
    let ran = fireclay(&["run", "-l", "python", "-"], b"print('\xff\xfe')");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}

#[test]
fn in_04_names_of_files_stay_inside() {
    let long = "x".repeat(5000);
    for name in [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "a/../../b",
        ".",
        "..",
        "",
        "x\0y",
        "a//b",
        "a/./b",
        "a/",
        "\x1b]0;x\x07",
        &long,
    ] {
        let order = Order { files: vec![(name.to_owned(), Vec::new())], ..python("1") };
        assert!(refusal(&order).starts_with("Error: files[0].path: "), "{name:?}: {}", refusal(&order));
        let mut order = python("1");
        order.request.file_name = Some(name.to_owned());
        assert!(refusal(&order).starts_with("Error: file_name: "), "{name:?}: {}", refusal(&order));
    }
    let odd = [
        "a\\..\\..\\b",
        "%2e%2e/x",
        "con",
        "-rf",
        "$(id)",
        "\u{202e}gpj",
        "a b",
        ".bashrc",
        "sub/.git/hooks/pre-commit",
    ];
    let mut order = Order {
        files: odd.map(|name| (name.to_owned(), b"x".to_vec())).to_vec(),
        ..python("import os, sys; print(all(os.path.isfile(name) for name in sys.argv[1:]))")
    };
    order.request.args = odd.map(str::to_owned).to_vec();
    assert_eq!(drive(&order).stdout, "True\n");
}

#[test]
fn in_05_files_in_each_others_way_are_the_callers_mistake() {
    let order = Order { files: vec![("a".into(), Vec::new()), ("a/b".into(), Vec::new())], ..python("1") };
    assert!(refusal(&order).starts_with("Error: files: "), "{}", refusal(&order));
    let mut order = Order { files: vec![("big".into(), vec![0; 2 << 20])], ..python("1") };
    order.request.limits.disk_bytes = Some(1 << 20);
    assert!(refusal(&order).starts_with("Error: files: "), "{}", refusal(&order));
}

#[test]
fn in_13_limits_are_clamped_and_never_without_bound() {
    let mut order = python("import resource; print(resource.getrlimit(resource.RLIMIT_FSIZE)[1] < 1 << 50)");
    let most = Some(u64::MAX);
    order.request.limits = LimitsPatch {
        timeout_ms: Some(5000),
        memory_bytes: most,
        cpus: Some(1e308),
        processes: most,
        disk_bytes: most,
        output_bytes: most,
    };
    let result = drive(&order);
    assert_eq!((result.outcome, result.stdout.as_str()), (Some(Outcome::Completed), "True\n"), "{result:?}");
    for limits in [
        LimitsPatch { timeout_ms: Some(0), ..LimitsPatch::default() },
        LimitsPatch { memory_bytes: Some(0), ..LimitsPatch::default() },
        LimitsPatch { processes: Some(0), ..LimitsPatch::default() },
        LimitsPatch { cpus: Some(-1.0), ..LimitsPatch::default() },
    ] {
        let mut order = python("1");
        order.request.limits = limits;
        assert!(refusal(&order).starts_with("Error: limits."), "{limits:?}: {}", refusal(&order));
    }
}

#[test]
fn in_14_a_language_is_one_of_a_list() {
    for name in ["python; rm -rf /", "../../bin/sh", "", "python\n", "PYTHON3.11", "-c"] {
        let ran = fireclay(&["run", &format!("--language={name}"), "-c", "print(1)"], b"");
        let trimmed = name.trim() == "python";
        assert_eq!(ran.code, if trimmed { 0 } else { 2 }, "{name:?}: {}", ran.stderr);
    }
}

#[test]
fn in_16_any_amount_of_input_read_or_not() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 256;
    let flood = |_, stdin: &mut ChildStdin| (0..PIECES).try_for_each(|_| stdin.write_all(&[0; PIECE]));
    // Nobody reads it, and it never ends: the program does.
    let (result, report, written) = interactive(python("print('unread')"), false, flood);
    assert_eq!((result.outcome, result.stdout.as_str()), (Some(Outcome::Completed), "ready\nunread\n"));
    assert!(written.is_err(), "256 MiB went somewhere");
    assert!(report.peak_bytes < SUPERVISOR_BYTES, "the supervisor grew to {} MiB", report.peak_bytes >> 20);
    let (result, report, written) =
        interactive(python("import sys; print(len(sys.stdin.buffer.read()) >> 20)"), true, flood);
    assert_eq!((result.outcome, result.stdout.as_str()), (Some(Outcome::Completed), "ready\n256\n"));
    assert!(written.is_ok());
    assert!(report.peak_bytes < SUPERVISOR_BYTES, "the supervisor grew to {} MiB", report.peak_bytes >> 20);
}

#[test]
fn in_17_encodings_are_the_interpreters_affair() {
    for (code, outcome, said) in [
        ("\u{feff}print(1)", Outcome::Completed, "1\n"),
        ("# coding: latin-1\nprint(ascii('é'))", Outcome::Completed, "'\\xc3\\xa9'\n"),
        ("# coding: utf-7\nprint('+AGE-')", Outcome::Completed, "a\n"),
        ("# coding: nonsense\nprint(1)", Outcome::Failed, ""),
        ("print(1)\r\nprint(2)\r", Outcome::Completed, "1\n2\n"),
    ] {
        let result = drive(&python(code));
        assert_eq!((result.outcome, result.stdout.as_str()), (Some(outcome), said), "{code:?}: {result:?}");
    }
}
