//! A service with keys, for tests of who may see and do what.

use fireclay_tests::http::Answer;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

/// A service with an administrator and two tenants.
pub struct Tenancy {
    /// The service.
    pub server: Server,
    /// The key of its administrator, of the tenant `local`.
    pub admin: String,
    /// The key of the tenant `a`.
    pub a: String,
    /// The key of the tenant `b`.
    pub b: String,
}

/// Makes a key without a service and returns it.
pub fn make_key(data: &Data, args: &[&str]) -> String {
    let made = data.command(&[&["key", "create"], args].concat()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim_end().to_owned()
}

impl Tenancy {
    /// Starts one.
    pub fn start() -> Self {
        Self::start_in(&Data::fresh(), &[])
    }

    /// Starts one on this directory, with these arguments.
    pub fn start_in(data: &Data, args: &[&str]) -> Self {
        let admin = make_key(data, &["--role", "admin"]);
        let a = make_key(data, &["--tenant", "a", "--name", "of a"]);
        let b = make_key(data, &["--tenant", "b"]);
        Self { server: Server::start_in(data, args), admin, a, b }
    }

    /// Asks as the holder of a key.
    pub fn ask(&self, key: &str, method: &str, path: &str) -> (u16, Value) {
        self.answer(key, method, path, None).into_json()
    }

    /// Asks with a body of JSON.
    pub fn tell(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.answer(key, method, path, Some(body)).into_json()
    }

    /// A whole answer.
    pub fn answer(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        let body = body.map(Value::to_string).unwrap_or_default();
        self.server.send(method, path, &headers, body.as_bytes())
    }

    /// A settled run of this key's tenant that left a file behind; its id.
    pub fn run(&self, key: &str) -> String {
        let request = json!({"language": "python", "code": "open('left.txt', 'w').write('x')\nprint('secret of it')",
            "metadata": {"label": "x"}});
        let (status, result) = self.tell(key, "POST", "/v1/runs", &request);
        assert_eq!((status, &result["outcome"]), (200, &json!("completed")), "{result}");
        result["id"].as_str().unwrap().to_owned()
    }
}
