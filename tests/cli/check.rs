//! `fireclay check` and `fireclay run --check`, from outside.

use fireclay_tests::{Server, fireclay};
use serde_json::Value;

const HARM: &[u8] = b"import shutil\nshutil.rmtree('/')\n";

#[test]
fn it_says_what_is_wrong_and_where_and_its_exit_code_says_whether_it_refuses() {
    let ran = fireclay(&["check", "-", "--language", "python"], HARM);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stdout.starts_with("-:2:1: high tree.destroy: "), "{ran:?}");
    let ran = fireclay(&["check", "-", "--language", "python"], b"print(1)");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 findings: not refused\n"));
    assert_eq!(fireclay(&["check", "/nowhere.py"], b"").code, 2);
    assert_eq!(fireclay(&["check", "-"], b"print(1)").code, 2);
}

#[test]
fn json_and_sarif_have_the_same_findings() {
    let said = |format: &str| -> Value {
        let ran = fireclay(&["check", "-", "--language", "python", "--format", format], HARM);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    };
    let (json, sarif) = (said("json"), said("sarif"));
    assert_eq!((&json["refused"], &sarif["version"]), (&Value::from(true), &Value::from("2.1.0")));
    let run = &sarif["runs"][0];
    for (finding, result) in
        json["findings"].as_array().unwrap().iter().zip(run["results"].as_array().unwrap())
    {
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!(
            (&finding["rule"], &finding["line"], &finding["column"]),
            (&result["ruleId"], &region["startLine"], &region["startColumn"])
        );
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], finding["rule"]);
    }
}

#[test]
fn a_run_is_denied_when_asked_and_told_otherwise() {
    let code = "true || rm -rf /; echo ran";
    let ran = fireclay(&["run", "-l", "bash", "-c", code, "--check", "deny"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    assert!(ran.stderr.contains("tree.destroy"), "{ran:?}");
    let ran = fireclay(&["run", "-l", "bash", "-c", code, "--json"], b"");
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&result["stdout"], &result["findings"][0]["rule"]),
        (&Value::from("ran\n"), &Value::from("tree.destroy"))
    );
}

#[test]
fn policies_and_rules_are_said_on_the_command_line() {
    const SOCKET: &[u8] = b"import socket\nprint(1)\n";
    let check = |args: &[&str]| fireclay(&[&["check", "-", "--language", "python"], args].concat(), SOCKET);
    assert_eq!(check(&[]).code, 0);
    let ran = check(&["--rule", "network.*=deny"]);
    assert!(ran.code == 4 && ran.stdout.contains("[deny]"), "{ran:?}");
    assert_eq!(check(&["--policy", "strict"]).code, 4);
    assert_eq!(check(&["--policy", "strict", "--rule", "network.used=off"]).code, 0);
    let ran = check(&["--rule", "network.usd=deny"]);
    assert!(ran.code == 2 && ran.stderr.contains("network.used"), "{ran:?}");
    assert_eq!(check(&["--rule", "network.used"]).code, 2);
    let run = |args: &[&str]| fireclay(&[&["run", "-c", "import socket; print(1)"], args].concat(), b"");
    assert_eq!(run(&["--check", "deny"]).code, 0);
    for denies in
        [&["--check", "deny", "--check-policy", "strict"][..], &["--check-rule", "network.used=deny"]]
    {
        let ran = run(denies);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
        assert!(ran.stderr.contains("denied: ") && ran.stderr.contains("network.used"), "{ran:?}");
    }
    assert_eq!(run(&["--check-rule", "network.usd=deny"]).code, 2);
}

#[test]
fn sessions_and_batches_take_them_too() {
    let server = Server::start(&[]);
    let said = |args: &[&str]| {
        let ran = server.data.command(args).output().unwrap();
        let (out, told) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        (ran.status.code(), out, told)
    };
    assert_eq!(said(&["session", "create", "--name", "it"]).0, Some(0));
    let run = ["session", "run", "it", "-c", "import socket; print(1)"];
    assert_eq!(said(&run).1, "1\n");
    for denies in
        [&["--check", "deny", "--check-policy", "strict"][..], &["--check-rule", "network.used=deny"]]
    {
        let (code, out, told) = said(&[&run[..], denies].concat());
        assert_eq!((code, out.as_str()), (Some(4), ""), "{told}");
        assert!(told.contains("network.used"), "{told}");
    }
    let (code, _, told) = said(&[&run[..], &["--review"]].concat());
    assert!(code == Some(2) && told.contains("model"), "{told}");
    let file = server.data.path().join("items.jsonl");
    std::fs::write(&file, "{\"language\":\"python\",\"code\":\"import socket\"}\n").unwrap();
    let batch = ["batch", file.to_str().unwrap()];
    assert!(said(&batch).1.contains("\"completed\""));
    assert!(
        said(&[&batch[..], &["--check", "deny", "--check-policy", "strict"]].concat())
            .1
            .contains("\"denied\"")
    );
    assert!(said(&[&batch[..], &["--check-rule", "network.*=deny"]].concat()).1.contains("\"denied\""));
}
