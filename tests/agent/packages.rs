//! What the code of tasks and chats imports is installed, from the real PyPI.

use super::model::Model;
use super::reviews::with;
use crate::api::packages::index;
use serde_json::{Value, json};

fn imports(module: &str) -> Value {
    json!([{"name": "run_code", "arguments": {"code": format!("import {module}\nprint('found', {module}.__name__)")}}])
}

#[test]
fn what_code_imports_is_installed_for_tasks_and_chats() {
    let mut versioned = imports("six");
    versioned[0]["arguments"]["code"] = json!("import six\nprint('found', six.__version__)");
    versioned[0]["arguments"]["packages"] = json!(["six==1.16.0"]);
    let found =
        |calls: &Value, what: &str| [json!({"calls": calls}), json!({"expect": [what], "text": "found"})];
    let turns = [
        found(&imports("colorama"), "found colorama"),
        found(&imports("idna"), "ModuleNotFoundError"),
        found(&imports("idna"), "found idna"),
        found(&imports("colorama"), "found colorama"),
        found(&versioned, "found 1.16.0"),
    ];
    let model = Model::saying(&json!(turns.concat()));
    let server = with(&model, &["--set", &index()]);
    let none = json!({"auto_packages": false});
    let own = json!({"auto_packages": false, "packages": ["idna"]});
    for more in [json!({}), none, own] {
        let mut body = json!({"question": "Is it there?", "wait": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, task) = server.post_json("/v1/tasks", &body);
        assert_eq!((status, &task["answer"]), (200, &json!("found")), "{task}");
    }
    for _ in 0..2 {
        let asked = json!({"messages": [{"role": "user", "content": "Is it there?"}]});
        let (status, answer) = server.post_json("/v1/chat/completions", &asked);
        assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("found")), "{answer}");
    }
    let (_, session) = server.post_json("/v1/sessions", &json!({}));
    let named = json!({"question": "?", "session": session["id"], "packages": ["idna"]});
    let (status, problem) = server.post_json("/v1/tasks", &named);
    assert_eq!((status, &problem["field"]), (422, &json!("packages")), "{problem}");
}
