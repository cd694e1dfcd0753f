//! `fireclay key` and `fireclay verify`: without a service, beside one, and by its address.

use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::process::Output;

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn keys(data: &Data, key: Option<&str>, args: &[&str]) -> (i32, String, String) {
    let mut command = data.command(&[&["key"], args].concat());
    said(&command.envs(key.map(|key| ("FIRECLAY_API_KEY", key))).output().unwrap())
}

#[test]
fn keys_are_the_same_with_and_without_a_service() {
    let data = Data::fresh();
    let (code, admin, told) = keys(&data, None, &["create", "--role", "admin", "--name", "me"]);
    assert!(code == 0 && told.contains("shown this once"), "{told}");
    let admin = admin.trim_end();
    let (code, _, _) = keys(&data, None, &["create", "--tenant", "a", "--expires-in", "1h"]);
    assert_eq!(code, 0);
    let (_, alone, _) = keys(&data, None, &["list", "--json"]);

    let server = Server::start_in(&data, &[]);
    let (code, _, told) = keys(&data, None, &["list"]);
    assert!(code == 2 && told.contains("FIRECLAY_API_KEY"), "{told}");
    let (_, beside, _) = keys(&data, Some(admin), &["list", "--json"]);
    let without_use = |text: &str| {
        let mut rows: Value = serde_json::from_str(text).unwrap();
        rows.as_array_mut().unwrap().iter_mut().for_each(|row| row["last_used_at"] = Value::Null);
        rows
    };
    assert_eq!(without_use(&alone), without_use(&beside));

    let file = data.path().join("key");
    std::fs::write(&file, format!("{admin}\n")).unwrap();
    let by_file = ["--url", &server.url(""), "--api-key-file", file.to_str().unwrap()];
    let (code, made, _) = keys(&Data::fresh(), None, &[&["create", "--tenant", "b"], &by_file[..]].concat());
    assert_eq!(code, 0);
    let (code, told, _) = keys(&data, Some(admin), &["revoke", made.trim_end()]);
    assert_eq!((code, told), (0, format!("revoked {}\n", made.trim_end())));
    let (_, table, _) = keys(&data, Some(admin), &["list", "--tenant", "b"]);
    assert!(table.lines().nth(1).unwrap().contains("revoked"), "{table}");
    let (code, _, told) = keys(&data, Some(made.trim_end()), &["list"]);
    assert!(code == 2 && told.contains("unknown, expired or revoked"), "{told}");

    drop(server);
    let (code, _, told) = keys(&data, None, &["revoke", "0000000000"]);
    assert!(code == 2 && told.contains("there is no key"), "{told}");
}

#[test]
fn the_first_key_must_be_an_administrators() {
    let data = Data::fresh();
    let (code, made, told) = keys(&data, None, &["create"]);
    assert!(code == 2 && made.is_empty() && told.contains("--role admin"), "{told}");
}

#[test]
fn the_last_administrators_key_stays() {
    let data = Data::fresh();
    let make = || keys(&data, None, &["create", "--role", "admin"]).1.trim_end().to_owned();
    let first = make();
    let (code, said, told) = keys(&data, None, &["revoke", &first]);
    assert!(code == 2 && said.is_empty() && told.contains("--role admin"), "{told}");
    let server = Server::start_in(&data, &[]);
    let (code, _, told) = keys(&data, Some(&first), &["revoke", &first]);
    assert!(code == 2 && told.contains("last key of an administrator"), "{told}");
    drop(server);
    let second = make();
    assert_eq!(keys(&data, None, &["revoke", &first]).0, 0);
    assert_eq!(keys(&data, None, &["revoke", &second]).0, 2);
}

#[test]
fn a_receipt_is_proof_for_others() {
    let server = Server::start(&[]);
    let result = server.post_json("/v1/runs", &json!({"language": "python", "code": "print(6 * 7)"})).1;
    let verify = |result: &Value, args: &[&str]| {
        let file = server.data.path().join("result.json");
        std::fs::write(&file, result.to_string()).unwrap();
        let args = [&["verify", file.to_str().unwrap()], args].concat();
        said(&server.data.command(&args).output().unwrap())
    };
    let key = server.get_json("/v1/keys/receipt").1["public_key"].as_str().unwrap().to_owned();
    let id = result["id"].as_str().unwrap();
    let genuine = (0, format!("genuine: {id} completed, signed with {key}\n"), String::new());
    assert_eq!(verify(&result, &[]), genuine);
    assert_eq!(verify(&result, &["--url", &server.url("/")]), genuine);
    assert_eq!(verify(&result, &["--key", &key]), genuine);

    let mut forged = result.clone();
    forged["stdout"] = json!("43\n");
    let told = format!("not genuine: {id}: the result's output is not what was signed\n");
    assert_eq!(verify(&forged, &[]), (1, told, String::new()));
    forged["receipt"] = Value::Null;
    assert_eq!(verify(&forged, &[]).0, 1);
    let (code, told, _) = verify(&result, &["--key", "AAAA"]);
    assert!(code == 1 && told.contains("was signed with"), "{told}");
    assert_eq!(verify(&json!({"id": 1}), &[]).0, 2);
    // Nobody is believed because the receipt itself says so.
    let elsewhere = Data::fresh();
    let file = server.data.path().join("result.json");
    std::fs::write(&file, result.to_string()).unwrap();
    let (code, _, told) = said(&elsewhere.command(&["verify", file.to_str().unwrap()]).output().unwrap());
    assert!(code == 2 && told.contains("--url"), "{told}");
}
