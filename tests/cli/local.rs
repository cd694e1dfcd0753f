//! The local server: one for all programs of a user, theirs alone, gone when nobody needs it.

use fireclay_tests::server::wait_for;
use fireclay_tests::{Data, Server, http};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A data directory whose local server, if one was started, is ended with the test.
struct Local(Data);

impl Local {
    fn fresh() -> Self {
        Self(Data::fresh())
    }

    fn command(&self, args: &[&str]) -> Command {
        self.0.command(args)
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn said(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(args);
        assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// What a command that is refused says.
    fn refused(&self, args: &[&str]) -> String {
        let Output { status, stderr, .. } = self.output(args);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}: {stderr}");
        stderr
    }

    fn start(&self) -> Value {
        serde_json::from_str(&self.said(&["local", "start", "--json"])).unwrap()
    }

    /// What the server says of itself in the data directory.
    fn server_file(&self) -> PathBuf {
        self.0.path().join("server.json")
    }

    fn serving(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.server_file()).unwrap()).unwrap()
    }

    fn token_file(&self) -> PathBuf {
        self.serving()["token_file"].as_str().unwrap().into()
    }

    /// Writes another version into what the server says of itself.
    fn pretend_version(&self, version: &str) {
        let mut serving = self.serving();
        serving["version"] = json!(version);
        std::fs::write(self.server_file(), serving.to_string()).unwrap();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.server_file().exists() {
            self.output(&["local", "stop"]);
        }
        self.0.wait_for_the_last_process();
    }
}

fn process_of(server: &Value) -> (Pid, OwnedFd) {
    let pid = Pid::from_raw(i32::try_from(server["pid"].as_i64().unwrap()).unwrap()).unwrap();
    (pid, pidfd_open(pid, PidfdFlags::empty()).unwrap())
}

/// The status of a request with this token.
fn status(server: &Value, token: Option<&str>) -> u16 {
    let url = format!("{}/v1/runs", server["url"].as_str().unwrap());
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    http::send("GET", &url, &headers, b"").unwrap().status
}

#[test]
fn twenty_starts_at_once_get_one_server() {
    let local = Local::fresh();
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let mut command = local.command(&["local", "start", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let answers: Vec<Output> = starts.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for answer in &answers {
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        assert_eq!(answer.stdout, answers[0].stdout);
    }
    // Nobody started a second one that found the data directory taken, and ended.
    assert_eq!(std::fs::read_to_string(local.0.path().join("local.log")).unwrap(), "");
    let server = local.start();
    assert_eq!(local.said(&["local", "status"]).trim(), server["url"].as_str().unwrap());

    // Its token is its user's, and nothing goes without it.
    let token = server["token"].as_str().unwrap();
    assert_eq!(status(&server, Some(token)), 200);
    assert_eq!(status(&server, None), 401);
    assert_eq!(status(&server, Some(&token.replace("local_", "local_0"))), 401);
    let file = local.token_file();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(file.parent().unwrap().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(!std::fs::read_to_string(local.server_file()).unwrap().contains(token));

    local.said(&["local", "stop"]);
    local.0.wait_for_the_last_process();
    assert!(!file.exists() && !local.server_file().exists());
    assert_eq!(local.output(&["local", "status"]).status.code(), Some(1));
}

#[test]
fn one_that_was_killed_is_followed_by_another() {
    let local = Local::fresh();
    let first = local.start();
    let (pid, process) = process_of(&first);
    kill_process(pid, Signal::KILL).unwrap();
    wait_for(&process);
    // What it left is there, and is believed by nobody.
    assert!(local.server_file().exists() && local.token_file().exists());
    assert_eq!(local.output(&["local", "status"]).status.code(), Some(1));
    assert_eq!(local.said(&["session", "list"]), "");
    let second = local.start();
    assert_ne!(first["pid"], second["pid"]);
    assert_ne!(first["token"], second["token"]);
    assert_eq!(status(&second, first["token"].as_str()), 401);
    assert_eq!(status(&second, second["token"].as_str()), 200);
}

#[test]
fn one_that_nobody_needs_ends() {
    let local = Local::fresh();
    let start = |args: &[&str]| {
        let mut command = local.command(args);
        let output = command.env("FIRECLAY_LOCAL_IDLE_MS", "300ms").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let server: Value = serde_json::from_str(&start(&["local", "start", "--json"])).unwrap();
    let file = local.token_file();
    wait_for(&process_of(&server).1);
    assert!(!file.exists() && !local.server_file().exists());

    // An open session is a need: the server goes after it, and not with it.
    let id = start(&["session", "create", "--idle", "1s"]);
    wait_for(&process_of(&local.serving()).1);
    let view: Value = serde_json::from_str(&local.said(&["session", "show", id.trim()])).unwrap();
    assert_eq!(view["end"]["why"], "idle", "{view}");
}

#[test]
fn an_older_one_is_replaced_in_order() {
    let local = Local::fresh();
    let first = local.start();
    // Of a newer fireclay, or of this one, it is used as it is.
    local.pretend_version("999.0.0");
    assert_eq!(local.start()["pid"], first["pid"]);
    local.pretend_version("0.0.1");
    let body =
        json!({"code": "import time; time.sleep(1); print('done')", "language": "python", "wait": false});
    let body = body.to_string();
    let bearer = format!("Bearer {}", first["token"].as_str().unwrap());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let url = format!("{}/v1/runs", first["url"].as_str().unwrap());
    let (_, run) = http::send("POST", &url, &headers, body.as_bytes()).unwrap().into_json();

    let second = local.start();
    assert_ne!(first["pid"], second["pid"]);
    // What ran then was let end.
    let bearer = format!("Bearer {}", second["token"].as_str().unwrap());
    let url = format!("{}/v1/runs/{}", second["url"].as_str().unwrap(), run["id"].as_str().unwrap());
    let (_, run) = http::send("GET", &url, &[("authorization", &bearer)], b"").unwrap().into_json();
    assert_eq!((&run["outcome"], &run["stdout"]), (&json!("completed"), &json!("done\n")), "{run}");
}

#[test]
fn what_another_user_put_there_is_refused() {
    let local = Local::fresh();
    let planted = local.0.path().join("fireclay");
    let elsewhere = local.0.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &planted).unwrap();
    assert!(local.refused(&["local", "start"]).contains("is no directory, but a link"));
    std::fs::remove_file(&planted).unwrap();
    std::fs::create_dir(&planted).unwrap();
    std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(local.refused(&["session", "list"]).contains("can be used by others (mode 777)"));
    // Tests run as root, who can make it another's.
    std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o700)).unwrap();
    chown(&planted, Some(65534), Some(65534)).unwrap();
    assert!(local.refused(&["local", "start"]).contains("belongs to the user 65534"));
    std::fs::remove_dir(&planted).unwrap();

    // Nor is a token believed that lies in a file of another's, which is how one would be made to send code there.
    let server = local.start();
    let file = local.token_file();
    chown(&file, Some(65534), Some(65534)).unwrap();
    assert_eq!(local.start()["token"], Value::Null);
    chown(&file, Some(0), Some(0)).unwrap();
    assert_eq!(local.start()["token"], server["token"]);
}

#[test]
fn commands_start_it_and_share_it() {
    let local = Local::fresh();
    let id = local.said(&["session", "create", "--name", "mine"]);
    let pid = local.serving()["pid"].clone();
    assert_eq!(local.said(&["session", "run", "mine", "-c", "x = 6; print(x)"]), "6\n");
    // `run` asks it now that it is there; alone, it starts none.
    let runs = || -> usize {
        let server = local.start();
        let bearer = format!("Bearer {}", server["token"].as_str().unwrap());
        let url = format!("{}/v1/runs", server["url"].as_str().unwrap());
        let (_, page) = http::send("GET", &url, &[("authorization", &bearer)], b"").unwrap().into_json();
        page["items"].as_array().unwrap().len()
    };
    let before = runs();
    assert_eq!(local.said(&["run", "-c", "print(7)"]), "7\n");
    assert_eq!(runs(), before + 1);
    assert_eq!(local.said(&["run", "--local", "-c", "print(8)"]), "8\n");
    assert_eq!(runs(), before + 1);
    // Its owner may make keys, and then asks by the token still.
    assert!(local.said(&["key", "create", "--role", "admin"]).contains("fc_"));
    assert!(local.said(&["session", "list"]).contains(id.trim()));
    assert_eq!(local.serving()["pid"], pid);
    let told = local.command(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stderr).contains("fireclay local stop"), "{told:?}");
}

#[test]
fn alone_a_run_starts_no_server() {
    let local = Local::fresh();
    assert_eq!(local.said(&["run", "-c", "print(7)"]), "7\n");
    assert!(!local.server_file().exists());
}

#[test]
fn a_service_that_was_started_by_hand_is_used_and_left_alone() {
    let server = Server::start(&[]);
    let command = |args: &[&str]| server.data.command(args).output().unwrap();
    let found: Value = serde_json::from_slice(&command(&["local", "start", "--json"]).stdout).unwrap();
    assert_eq!((found["url"].as_str(), &found["token"]), (Some(server.url("").as_str()), &Value::Null));
    let stopped = command(&["local", "stop"]);
    assert_eq!(stopped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("was started by `fireclay serve`"));
    assert_eq!(server.get("/healthz").0, 200);
}

/// What the check refused leaves its trace as what ran does, unless nothing was to be recorded.
#[test]
fn what_did_not_run_is_observed_too() {
    let local = Local::fresh();
    let remove = ["run", "--check", "deny", "-c", "import shutil; shutil.rmtree('/')"];
    for more in [&[][..], &["--no-record"]] {
        assert_eq!(local.output(&[&remove[..], more].concat()).status.code(), Some(4));
    }
    let server: Value = serde_json::from_str(&local.said(&["observe", "--json", "--port", "0"])).unwrap();
    let bearer = format!("Bearer {}", server["token"].as_str().unwrap());
    let get = |path: &str| {
        let url = format!("{}{path}", server["url"].as_str().unwrap());
        http::send("GET", &url, &[("authorization", &bearer)], b"").unwrap().into_json().1
    };
    let items = loop {
        let items = get("/v1/traces?kind=run")["items"].as_array().unwrap().clone();
        if !items.is_empty() {
            break items;
        }
    };
    assert_eq!((items.len(), &items[0]["outcome"]), (1, &json!("denied")), "{items:?}");
    let whole = get(&format!("/v1/traces/{}", items[0]["id"].as_str().unwrap()));
    let check = &whole["tree"][0]["children"][1];
    assert_eq!(
        (&check["name"], &check["events"][0]["name"]),
        (&json!("check"), &json!("finding")),
        "{check}"
    );
}

/// What ran without a server is seen when one is there: of single runs and of batches.
#[test]
fn what_ran_without_a_server_is_observed() {
    let local = Local::fresh();
    local.said(&["run", "-c", "print('alone')"]);
    let items = local.0.path().join("items.jsonl");
    std::fs::write(&items, "{\"language\": \"python\", \"code\": \"print('many')\"}\n").unwrap();
    local.said(&["batch", items.to_str().unwrap()]);
    assert!(!local.server_file().exists(), "nothing of it needed a server");
    let server: Value = serde_json::from_str(&local.said(&["observe", "--json", "--port", "0"])).unwrap();
    let bearer = format!("Bearer {}", server["token"].as_str().unwrap());
    let get = |path: &str| {
        let url = format!("{}{path}", server["url"].as_str().unwrap());
        http::send("GET", &url, &[("authorization", &bearer)], b"").unwrap().into_json().1
    };
    // The server takes them in as soon as it is there, beside whoever asks.
    let run = loop {
        let items = get("/v1/traces?kind=run")["items"].as_array().unwrap().clone();
        if let Some(run) = items.into_iter().next() {
            break run;
        }
    };
    assert_eq!((&run["name"], &run["output_preview"]), (&json!("python run"), &json!("alone")), "{run}");
    let whole = get(&format!("/v1/traces/{}", run["id"].as_str().unwrap()));
    assert_eq!(whole["tree"][0]["input"]["text"], "print('alone')");
    let spans = whole["tree"][0]["children"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["admission", "check", "image", "fork", "execution", "artifacts"]);
    let took = |span: &Value| span["duration_ms"].as_f64().unwrap();
    let (whole_ms, all_ms) = (took(&whole["tree"][0]), spans.iter().map(took).sum::<f64>());
    assert!(all_ms <= whole_ms + 0.01 && took(&spans[4]) > 0.0, "{all_ms} of {whole_ms}: {spans:?}");
    let batches = get("/v1/traces?kind=batch");
    assert_eq!(batches["items"][0]["outcome"], "completed", "{batches}");
    // The one that is there is told of; another place is not made up.
    let again: Value = serde_json::from_str(&local.said(&["observe", "--json"])).unwrap();
    assert_eq!(again, server);
    let refused = local.refused(&["observe", "--port", "1"]);
    assert!(refused.contains("serves this data directory already"), "{refused}");
}
