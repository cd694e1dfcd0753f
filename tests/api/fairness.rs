//! Many tenants, one machine: who waits for whom, and who is told to come again.

use super::runs::ENDLESS;
use fireclay_tests::{Server, census};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long something may take that comes at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with keys, and the key of its administrator.
struct Keyed {
    server: Server,
    admin: String,
}

impl Keyed {
    fn start(args: &[&str]) -> Self {
        let server = Server::start(args);
        let (status, key) = server.post_json("/v1/keys", &json!({"role": "admin"}));
        assert_eq!(status, 201, "{key}");
        Self { admin: plain(&key), server }
    }

    /// A key of a tenant.
    fn tenant(&self, name: &str) -> Tenant<'_> {
        let bearer = format!("Bearer {}", self.admin);
        let (status, key) =
            self.server.post_json_with("/v1/keys", &[("authorization", &bearer)], &json!({"tenant": name}));
        assert_eq!(status, 201, "{key}");
        Tenant { server: &self.server, bearer: format!("Bearer {}", plain(&key)) }
    }

    fn admin(&self) -> Tenant<'_> {
        Tenant { server: &self.server, bearer: format!("Bearer {}", self.admin) }
    }
}

fn plain(key: &Value) -> String {
    key["key"].as_str().unwrap_or_else(|| panic!("{key}")).to_owned()
}

/// A tenant with its key.
struct Tenant<'s> {
    server: &'s Server,
    bearer: String,
}

impl Tenant<'_> {
    fn send(&self, method: &str, path: &str, body: &Value) -> fireclay_tests::http::Answer {
        let headers = [("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.send(method, path, &headers, body.as_bytes())
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.into_json().1
    }

    /// Submits and does not wait.
    fn submit(&self, code: &str) -> String {
        let run = self.json("POST", "/v1/runs", &json!({"language": "bash", "code": code, "wait": false}));
        run["id"].as_str().unwrap().to_owned()
    }

    fn run(&self, id: &str) -> Value {
        self.json("GET", &format!("/v1/runs/{id}"), &Value::Null)
    }

    fn cancel(&self, id: &str) {
        self.json("DELETE", &format!("/v1/runs/{id}"), &Value::Null);
    }

    /// All its runs.
    fn runs(&self, filter: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.json("GET", &format!("/v1/runs?limit=200&{filter}{cursor}"), &Value::Null);
            items.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until it has no more unsettled runs than this.
    fn wait_for_unsettled(&self, most: usize) {
        while self.runs("state=queued").len() + self.runs("state=running").len() > most {
            std::thread::yield_now();
        }
    }

    fn wait_for_settled(&self, id: &str) {
        while self.run(id)["state"] != "settled" {
            std::thread::yield_now();
        }
    }

    fn wait_for_running(&self, id: &str) {
        while self.run(id)["state"] != "running" {
            std::thread::yield_now();
        }
    }
}

#[test]
fn one_run_of_b_starts_at_the_next_release_though_a_waits_with_a_thousand() {
    let service = Keyed::start(&["--set", "concurrency=2"]);
    let (a, b) = (service.tenant("a"), service.tenant("b"));
    let running = [a.submit(ENDLESS), a.submit(ENDLESS)];
    running.iter().for_each(|id| a.wait_for_running(id));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..250).for_each(|_| drop(a.submit("true"))));
        }
    });
    assert_eq!(a.runs("state=queued").len(), 1000);
    let single = b.submit(ENDLESS);
    assert_eq!(b.run(&single)["state"], "queued");
    a.cancel(&running[0]);
    b.wait_for_running(&single);
    // The place that became free was the first, and it is B's: of A nothing began since. A place is free before what
    // ran in it is recorded, so the record is waited for.
    a.wait_for_settled(&running[0]);
    let outcomes: Vec<Value> = a.runs("state=settled").iter().map(|run| run["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("cancelled")]);
    assert_eq!(a.runs("state=running").len(), 1);
    for id in a.runs("state=queued").iter().map(|run| run["id"].as_str().unwrap().to_owned()) {
        a.cancel(&id);
    }
    a.cancel(&running[1]);
    b.cancel(&single);
    a.wait_for_unsettled(0);
}

#[test]
fn ten_tenants_at_equal_load_get_equal_parts() {
    const EACH: usize = 40;
    let service = Keyed::start(&["--set", "concurrency=3"]);
    let admin = service.admin();
    // Nothing begins before everything is queued.
    let gate: Vec<String> = (0..3).map(|_| admin.submit(ENDLESS)).collect();
    gate.iter().for_each(|id| admin.wait_for_running(id));
    let tenants: Vec<Tenant<'_>> = (0..10).map(|n| service.tenant(&format!("t{n}"))).collect();
    // Each submits all of its own at once, so that an order of arrival would be no order of service.
    for tenant in &tenants {
        (0..EACH).for_each(|_| drop(tenant.submit("true")));
    }
    gate.iter().for_each(|id| admin.cancel(id));
    let mut ends: Vec<(String, usize)> = Vec::new();
    for (number, tenant) in tenants.iter().enumerate() {
        tenant.wait_for_unsettled(0);
        let runs = tenant.runs("");
        assert!(runs.len() == EACH && runs.iter().all(|run| run["outcome"] == "completed"));
        ends.extend(runs.iter().map(|run| (run["settled_at"].as_str().unwrap().to_owned(), number)));
    }
    ends.sort();
    let half = tenants.len() * EACH / 2;
    let mut parts = vec![0usize; tenants.len()];
    ends.iter().take(half).for_each(|(_, number)| parts[*number] += 1);
    let fair = half / tenants.len();
    let (least, most) = (fair * 8 / 10, fair * 12 / 10);
    assert!(parts.iter().all(|part| (least..=most).contains(part)), "of the first {half}: {parts:?}");
}

/// RS-24 of the catalogue: one key, two hundred runs at once.
#[test]
fn two_hundred_at_once_with_one_key_take_their_own_part_and_the_rest_is_told_to_wait() {
    let limits = ["--set", "concurrency=4", "--set", "tenant.concurrency=2", "--set", "tenant.queue=20"];
    let service = Keyed::start(&limits);
    let (greedy, other) = (service.tenant("greedy"), service.tenant("other"));
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let request = json!({"language": "bash", "code": ENDLESS, "wait": false});
                let answer = greedy.send("POST", "/v1/runs", &request);
                if answer.status == 429 {
                    let seconds: u64 = answer.header("retry-after").parse().unwrap();
                    assert!(seconds >= 1, "{answer:?}");
                    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["retry_safe"], true);
                }
                statuses.lock().unwrap().push(answer.status);
            });
        }
    });
    // Two have a place, twenty wait, and nobody else was let in.
    let statuses = statuses.into_inner().unwrap();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(202), count(429)), (22, 178), "{statuses:?}");
    // Others have the rest of the machine meanwhile.
    let run = other.json("POST", "/v1/runs", &json!({"language": "bash", "code": "echo on"}));
    assert_eq!(run["stdout"], "on\n");
    assert_eq!((greedy.runs("state=running").len(), greedy.runs("state=queued").len()), (2, 20));
    // Of those that lost the last room to another while they were written down nothing is left either.
    assert_eq!((greedy.runs("fault=true").len(), greedy.runs("since=2020-01-01T00:00:00Z").len()), (0, 22));
    for unsettled in [greedy.runs("state=queued"), greedy.runs("state=running")].concat() {
        greedy.cancel(unsettled["id"].as_str().unwrap());
    }
    greedy.wait_for_unsettled(0);
}

#[test]
fn a_rate_is_kept_and_says_when_to_come_again() {
    let service = Keyed::start(&["--set", "tenant.rate_per_minute=3"]);
    let (hasty, other) = (service.tenant("hasty"), service.tenant("other"));
    let request = json!({"language": "bash", "code": "true"});
    let statuses: Vec<u16> = (0..5).map(|_| hasty.send("POST", "/v1/runs", &request).status).collect();
    assert_eq!(statuses[..3], [200; 3]);
    assert_eq!(statuses[4], 429);
    let answer = hasty.send("POST", "/v1/runs", &request);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&seconds), "{answer:?}");
    assert_eq!(other.send("POST", "/v1/runs", &request).status, 200);
}

/// Two clients for each key, one machine that is full for most of them: both are told the same, and who was refused may repeat it.
#[test]
fn who_was_told_to_wait_may_send_the_same_again() {
    const KEYS: usize = 20;
    let server = Server::start(&["--set", "concurrency=1", "--set", "tenant.queue=3"]);
    let submit = |key: usize, code: &str| {
        let request = json!({"language": "bash", "code": code, "wait": false});
        server.post_json_with("/v1/runs", &[("idempotency-key", &format!("key-{key}"))], &request)
    };
    let told = Mutex::new(vec![Vec::new(); KEYS]);
    std::thread::scope(|scope| {
        for client in 0..2 * KEYS {
            let (told, submit) = (&told, &submit);
            scope.spawn(move || {
                let answer = submit(client % KEYS, ENDLESS);
                told.lock().unwrap()[client % KEYS].push(answer);
            });
        }
    });
    let told = told.into_inner().unwrap();
    let id = |answer: &(u16, Value)| (answer.0 == 202).then(|| answer.1["id"].as_str().unwrap().to_owned());
    let mut accepted = BTreeSet::new();
    for answers in &told {
        assert!(answers.iter().all(|(status, _)| matches!(status, 202 | 429)), "{answers:?}");
        let ids: BTreeSet<String> = answers.iter().filter_map(id).collect();
        assert!(ids.len() <= 1, "one key, two runs: {answers:?}");
        accepted.extend(ids);
    }
    assert_eq!(accepted.len(), 4, "one has the place, three wait");
    let listed = server.get_json("/v1/runs?limit=200").1["items"].as_array().unwrap().clone();
    let listed: BTreeSet<String> = listed.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, accepted);
    accepted.iter().for_each(|id| assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202));
    accepted.iter().for_each(|id| drop(server.settled(id)));
    let refused = told.iter().position(|answers| answers.iter().all(|answer| answer.0 == 429)).unwrap();
    // Nothing claims its key: another request may have it too.
    assert_eq!(submit(refused, "true").0, 202);
}

/// What takes long has its place and holds up nobody: not in the queue, and not on the processors.
#[test]
fn long_runs_give_way_to_short_ones() {
    let server = Server::start(&["--set", "concurrency=4", "--set", "concurrency_young=1"]);
    let state = |id: &String| server.get_json(&format!("/v1/runs/{id}")).1["state"].clone();
    let long: Vec<String> =
        (0..3).map(|_| server.submit(&json!({"language": "bash", "code": ENDLESS}))).collect();
    let until = Instant::now() + PATIENCE;
    let wait_for = |done: &dyn Fn() -> bool, what: &str| {
        while !done() {
            assert!(Instant::now() < until, "{what}");
            std::thread::yield_now();
        }
    };
    wait_for(&|| long.iter().all(|id| state(id) == "running"), "all that take long have a place");
    let (status, short) = server.post_json("/v1/runs", &json!({"language": "bash", "code": "echo short"}));
    assert_eq!((status, &short["stdout"]), (200, &json!("short\n")));
    assert!(long.iter().all(|id| state(id) == "running"), "it did not wait for them to end");
    let gave_way = || {
        let keepers = server.data.processes();
        let leaves = census::leaves().into_iter().filter(|leaf| keepers.contains(&leaf.maker));
        leaves.filter(|leaf| weight(&leaf.path).is_some_and(|weight| weight < 10)).count()
    };
    wait_for(&|| gave_way() == long.len(), "all that take long give way");
    long.iter().for_each(|id| assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202));
    long.iter().for_each(|id| drop(server.settled(id)));
}

/// The weight of a control group that has one, of which 100 is usual.
fn weight(leaf: &Path) -> Option<u64> {
    let read = |file| std::fs::read_to_string(leaf.join(file)).ok()?.trim().parse::<u64>().ok();
    read("cpu.weight").or_else(|| Some(read("cpu.shares")? * 100 / 1024))
}
