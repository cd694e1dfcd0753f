//! `fireclay check` and `fireclay run --check`, from outside.

use fireclay_tests::fireclay;
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
