//! Logins of the console: noted, counted, kept over a restart, ended with their key; and who tries many keys is told to wait.

use super::tenancy::Tenancy;
use fireclay_tests::http::Answer;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

const PROOF: (&str, &str) = ("x-fireclay-console", "1");
const JSON: (&str, &str) = ("content-type", "application/json");

fn post(server: &Server, path: &str, cookie: Option<&str>, body: &Value) -> Answer {
    let origin = format!("http://{}", server.address());
    let mut headers = vec![PROOF, JSON, ("origin", origin.as_str())];
    headers.extend(cookie.map(|cookie| ("cookie", cookie)));
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

/// Logs in; what a browser would send from then on.
fn login(server: &Server, key: &str) -> String {
    let answer = post(server, "/console/login", None, &json!({ "key": key }));
    assert_eq!(answer.status, 204, "{}", answer.text());
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn is_in(server: &Server, cookie: &str) -> bool {
    match server.send("GET", "/console/session", &[("cookie", cookie)], b"").status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

fn actions(tenancy: &Tenancy) -> Vec<(String, String)> {
    let (status, log) = tenancy.ask(&tenancy.admin, "GET", "/v1/audit?limit=100");
    assert_eq!(status, 200, "{log}");
    let rows = log["items"].as_array().unwrap().iter().rev();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "action"), text(row, "actor")))
        .filter(|row| row.0.starts_with("console."))
        .collect()
}

fn counted(tenancy: &Tenancy, result: &str) -> f64 {
    let answer = tenancy.answer(&tenancy.admin, "GET", "/metrics", None);
    let name = format!("fireclay_console_logins_total{{result=\"{result}\"}} ");
    answer.text().lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

fn id_of(key: &str) -> &str {
    &key[3..13]
}

#[test]
fn who_comes_goes_or_is_refused_is_noted_and_counted() {
    let tenancy = Tenancy::start();
    let server = &tenancy.server;
    let cookie = login(server, &tenancy.a);
    let wrong = "fc_0123456789_notakeyofthisservice";
    assert_eq!(post(server, "/console/login", None, &json!({ "key": wrong })).status, 401);
    assert_eq!(post(server, "/console/logout", Some(&cookie), &json!({})).status, 204);
    assert!(!is_in(server, &cookie));
    let key = id_of(&tenancy.a);
    let wanted = [("console.login", key), ("console.refuse", "service"), ("console.logout", key)];
    assert_eq!(actions(&tenancy), wanted.map(|(action, actor)| (action.to_owned(), actor.to_owned())));
    let counts = ["accepted", "refused", "ended"].map(|result| counted(&tenancy, result));
    assert_eq!(counts, [1.0, 1.0, 1.0]);
    let said = server.data.said();
    for action in ["console.login", "console.refuse", "console.logout"] {
        let line =
            said.lines().find(|line| line.contains(action)).unwrap_or_else(|| panic!("{action}: {said}"));
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["from"], "127.0.0.1", "{line}");
    }
    assert!(
        !said.contains(wrong)
            && !said.contains(&tenancy.a)
            && !said.contains(cookie.split('=').nth(1).unwrap())
    );
}

#[test]
fn one_who_tries_many_keys_waits_and_one_with_a_key_does_not() {
    let tenancy = Tenancy::start();
    let attempt = || post(&tenancy.server, "/console/login", None, &json!({"key": "fc_0123456789_no"}));
    // The minute may turn once while these are sent.
    let answers: Vec<Answer> = (0..21).map(|_| attempt()).collect();
    let last =
        answers.iter().find(|answer| answer.status == 429).expect("21 in a minute or two are too many");
    assert_eq!(last.header("retry-after"), "60");
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
    assert!(is_in(&tenancy.server, &login(&tenancy.server, &tenancy.a)));
    let refused = actions(&tenancy).iter().filter(|(action, _)| action == "console.refuse").count();
    assert!((10..=20).contains(&refused), "{refused}");
}

#[test]
fn a_login_outlives_the_service_but_not_its_key() {
    let data = Data::fresh();
    let tenancy = Tenancy::start_in(&data, &[]);
    let (one, other) = (login(&tenancy.server, &tenancy.a), login(&tenancy.server, &tenancy.b));
    let gone = login(&tenancy.server, &tenancy.b);
    assert_eq!(post(&tenancy.server, "/console/logout", Some(&gone), &json!({})).status, 204);
    let Tenancy { server, admin, a, .. } = tenancy;
    drop(server);
    // Of a login only a hash is kept.
    for file in std::fs::read_dir(data.path())
        .unwrap()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with("fireclay.db"))
    {
        let bytes = std::fs::read(file.path()).unwrap();
        let secret = one.split('=').nth(1).unwrap().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file:?}");
    }
    let server = Server::start_in(&data, &[]);
    assert!(is_in(&server, &one) && is_in(&server, &other) && !is_in(&server, &gone));
    let bearer = format!("Bearer {admin}");
    let path = format!("/v1/keys/{}", id_of(&a));
    let revoked = server.send("DELETE", &path, &[("authorization", bearer.as_str())], b"");
    assert!(matches!(revoked.status, 200 | 204), "{}", revoked.text());
    assert!(!is_in(&server, &one) && is_in(&server, &other));
    drop(server);
    let server = Server::start_in(&data, &[]);
    assert!(!is_in(&server, &one) && is_in(&server, &other), "nor does it come back");
}
