//! Sessions in which nothing runs: they stand still, take nothing, answer when they are asked again, and can be ended as they stand.

use super::sessions::{end_of, open, run, said};
use bench::processes::{Process, Role, tree};
use fireclay_tests::Server;
use fireclay_tests::server::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::Instant;

/// Counts in a file, for ever, in a thread.
const COUNTS: &str = "import threading, time
def count():
    n = 0
    while True:
        n += 1
        open('n.part', 'w').write(str(n))
        os.replace('n.part', 'n')
        time.sleep(0.001)
import os
threading.Thread(target=count, daemon=True).start()
while not os.path.exists('n'): time.sleep(0.001)";

/// What was counted; it is read without a run.
fn counted(server: &Server, session: &str) -> u64 {
    let (status, text) = server.get(&format!("{session}/files/n"));
    assert_eq!(status, 200);
    String::from_utf8(text).unwrap().parse().unwrap()
}

/// Waits until something holds; `what` says it to those who read that it did not.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// The processes of a service in this role.
fn of_role(server: &Server, role: Role) -> Vec<Process> {
    let all = tree(server.pid().as_raw_nonzero().get().unsigned_abs());
    all.into_iter().filter(|process| process.role() == role).collect()
}

/// Whether a process is in a group of version 2 that stands still.
pub fn stands_still(process: &Process) -> bool {
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| point.to_owned())
    });
    let point = point.expect("this test needs a hierarchy of version 2");
    let events = std::fs::read_to_string(format!("{point}{path}/cgroup.events")).unwrap_or_default();
    path.contains("/fireclay-idle-") && events.contains("frozen 1")
}

/// The interpreters of sessions: below an init, with a keeper that waits for nothing else.
pub fn interpreters(server: &Server) -> Vec<Process> {
    let keepers: Vec<u32> = of_role(server, Role::Keeper).iter().map(|one| one.pid).collect();
    let inits: Vec<u32> = of_role(server, Role::Init)
        .iter()
        .filter(|one| keepers.contains(&one.parent))
        .map(|one| one.pid)
        .collect();
    of_role(server, Role::Job).into_iter().filter(|one| inits.contains(&one.parent)).collect()
}

#[test]
fn what_runs_left_behind_stands_still_until_the_next_one() {
    let server = Server::start(&["--set", "pool.min=0", "--set", "pool.max=0"]);
    let session = open(&server, &json!({}));
    said(&server, &session, COUNTS);
    wait_until("it stands still", || interpreters(&server).iter().any(stands_still));
    let stood = counted(&server, &session);
    // A thousand looks at it take longer than it would to count on.
    for _ in 0..1_000 {
        assert_eq!(counted(&server, &session), stood);
    }
    // A run goes on where it was, and so does the thread.
    said(&server, &session, &format!("while int(open('n').read()) <= {stood}: time.sleep(0.001)"));
    wait_until("it stands still again", || interpreters(&server).iter().any(stands_still));
    // Programs beside it find it awake: what they wait for happens.
    let stood = counted(&server, &session);
    let waits =
        format!("import time\nwhile int(open('n').read()) <= {stood}: time.sleep(0.001)\nprint('on')");
    assert_eq!(run(&server, &session, &json!({"code": waits, "fresh": true}))["stdout"], "on\n");
    wait_until("it stands still once more", || interpreters(&server).iter().any(stands_still));
    // Orders that are no runs reach it, too.
    assert_eq!(server.post_json(&format!("{session}/restart"), &json!({})).0, 200);
    assert_eq!(said(&server, &session, "print('count' in globals())"), "False\n");
}

#[test]
fn one_that_stands_still_dies_with_its_keeper_and_says_so() {
    let server = Server::start(&["--set", "pool.min=0", "--set", "pool.max=0"]);
    let session = open(&server, &json!({}));
    said(&server, &session, COUNTS);
    wait_until("it stands still", || interpreters(&server).iter().any(stands_still));
    let interpreter = interpreters(&server).remove(0);
    let keeper = of_role(&server, Role::Keeper).remove(0);
    kill_process(Pid::from_raw(keeper.pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let end = end_of(&server, &session);
    assert_eq!(end["why"], "crashed", "{end}");
    // The service has its files, and they are kept.
    assert!(counted(&server, &session) > 0);
    wait_until("nothing of it is left", || !interpreter.lives());
    // The next session is as good as ever.
    let session = open(&server, &json!({}));
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
}

#[test]
fn what_is_to_go_on_goes_on() {
    let server = Server::start(&[]);
    for background in ["running", "slow"] {
        let session = open(&server, &json!({"background": background}));
        assert_eq!(server.get_json(&session).1["background"], background);
        said(&server, &session, COUNTS);
        let before = counted(&server, &session);
        wait_until("it goes on", || counted(&server, &session) > before + 200);
        assert_eq!(server.delete(&session).0, 200);
    }
    let (status, problem) = server.post_json("/v1/sessions", &json!({"background": "fast"}));
    assert_eq!((status, &problem["field"]), (422, &json!("background")), "{problem}");
}

#[test]
fn a_hundred_idle_sessions_take_no_processor_and_each_answers_right() {
    const SESSIONS: usize = 100;
    let server = Server::start(&["--set", "pool.min=0", "--set", "pool.max=0"]);
    let asked = json!({"limits": {"memory_bytes": 64 << 20, "disk_bytes": 16 << 20}});
    let sessions: Vec<String> = (0..SESSIONS)
        .map(|number| {
            let session = open(&server, &asked);
            said(&server, &session, &format!("n = {number}"));
            session
        })
        .collect();
    wait_until("all stand still", || {
        let found = interpreters(&server);
        found.len() == SESSIONS && found.iter().all(stands_still)
    });
    let ticks = || -> Vec<(u32, u64)> {
        let idle =
            [of_role(&server, Role::Keeper), of_role(&server, Role::Init), interpreters(&server)].concat();
        idle.iter().map(|process| (process.pid, process.ticks)).collect()
    };
    // Nothing of theirs ran while the whole tree was looked at fifty times.
    let before = ticks();
    assert_eq!(before.len(), 3 * SESSIONS);
    assert!((0..50).all(|_| ticks() == before), "{before:?} {:?}", ticks());
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(said(&server, session, "print(n)"), format!("{number}\n"));
    }
}
