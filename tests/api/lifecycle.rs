//! How a service ends, is killed, and begins again: nobody who was told something was told a lie, and nothing is left.

use super::runs::ENDLESS;
use fireclay_tests::server::wait_for;
use fireclay_tests::{Data, Server, census};
use model::{FaultCode, Outcome, RunResult};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::fd::OwnedFd;

fn endless() -> Value {
    json!({"language": "bash", "code": format!("echo on; {ENDLESS}")})
}

/// Submits a run that never ends and waits until its code runs.
fn start_endless(server: &Server) -> String {
    let id = server.submit(&endless());
    assert!(server.events(&id, None).any(|event| event.text() == "on\n"));
    id
}

/// Waits until the service says that it is ending.
fn wait_for_drain(server: &Server) {
    while server.get("/readyz").0 != 503 {
        std::thread::yield_now();
    }
}

fn interrupted(result: &RunResult) -> bool {
    result.fault.as_ref().is_some_and(|fault| fault.code == FaultCode::Interrupted && fault.retry_safe)
}

/// The parent of a process (proc(5)).
fn parent(pid: Pid) -> Option<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    Pid::from_raw(text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?)
}

/// Processes of this data directory that `parent` started.
fn children(data: &Data, of: Pid) -> Vec<Pid> {
    data.processes().into_iter().filter(|pid| parent(*pid) == Some(of)).collect()
}

fn spawner(server: &Server) -> Pid {
    // The other child serves the proxies.
    let spawners = children(&server.data, server.pid()).into_iter().filter(|child| {
        let path = format!("/proc/{}/cmdline", child.as_raw_nonzero());
        std::fs::read(path).is_ok_and(|line| line.ends_with(b"\0spawner\0"))
    });
    let spawners: Vec<Pid> = spawners.collect();
    assert_eq!(spawners.len(), 1);
    spawners[0]
}

/// The only keeper whose sandbox has a job, and that sandbox's init. Others have theirs ready.
fn busy(server: &Server) -> (Pid, Pid) {
    let of = |pid: Pid| children(&server.data, pid);
    let keepers = of(spawner(server));
    let inits = keepers.into_iter().flat_map(|keeper| of(keeper).into_iter().map(move |init| (keeper, init)));
    let busy: Vec<(Pid, Pid)> = inits.filter(|(_, init)| has_children(*init)).collect();
    assert_eq!(busy.len(), 1);
    busy[0]
}

/// Whether any process says that this is its parent.
fn has_children(of: Pid) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).any(|pid| parent(pid) == Some(of))
}

/// Kills a process; what it was can be waited for.
fn kill(pid: Pid) -> OwnedFd {
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    process
}

/// Stops every process of this data directory, also those that come while it does so: then none starts, reaps or tidies up.
fn stop_all(data: &Data) -> HashMap<Pid, OwnedFd> {
    let mut stopped = HashMap::new();
    loop {
        let running: Vec<Pid> =
            data.processes().into_iter().filter(|pid| !stopped.contains_key(pid)).collect();
        if running.is_empty() {
            return stopped;
        }
        for pid in running {
            // It may have ended since it was seen.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if pidfd_send_signal(&process, Signal::STOP).is_ok() {
                stopped.insert(pid, process);
            }
        }
    }
}

#[test]
fn sigterm_lets_what_runs_end_and_takes_nothing_new() {
    let server = Server::start(&["--set", "concurrency=3"]);
    let slow = json!({"language": "bash", "code": "echo on; sleep 3; echo done; echo left > file"});
    let unwatched = server.submit(&slow);
    std::thread::scope(|scope| {
        let mut streamed = server.stream(&slow);
        assert!(streamed.any(|event| event.text().starts_with("on")));
        let waiting = scope.spawn(|| server.post_json("/v1/runs", &slow));
        server.wait_for_metric("fireclay_running", 3.0);
        server.signal(Signal::TERM);
        wait_for_drain(&server);
        let (status, problem) = server.post_json("/v1/runs", &slow);
        assert_eq!((status, &problem["retry_safe"]), (503, &json!(true)), "{problem}");
        assert_eq!(server.get("/healthz").0, 200);
        let (status, result) = waiting.join().unwrap();
        assert_eq!((status, &result["stdout"]), (200, &json!("on\ndone\n")));
        assert_eq!(streamed.last().unwrap().data["outcome"], "completed");
    });
    let data = server.data.clone();
    assert!(server.ended().success());
    let next = Server::start_in(&data, &[]);
    let result = next.settled(&unwatched);
    assert_eq!((result.outcome, result.stdout.as_str()), (Some(Outcome::Completed), "on\ndone\n"));
    assert_eq!(next.get(&format!("/v1/runs/{unwatched}/artifacts/file")), (200, b"left\n".to_vec()));
}

#[test]
fn what_outlasts_the_drain_is_taken_back_and_told_so() {
    let server = Server::start(&["--set", "drain_timeout_ms=200", "--set", "concurrency=2"]);
    let unwatched = start_endless(&server);
    let watched = start_endless(&server);
    let queued = server.submit(&endless());
    let events = server.events(&watched, None);
    server.signal(Signal::TERM);
    assert_eq!(events.last().unwrap().data["outcome"], "cancelled");
    let data = server.data.clone();
    assert!(server.ended().success());
    let next = Server::start_in(&data, &[]);
    for id in [unwatched, watched, queued] {
        assert_eq!(next.settled(&id).outcome, Some(Outcome::Cancelled));
    }
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let server = Server::start(&["--set", "drain_timeout_ms=1h"]);
    let id = start_endless(&server);
    server.signal(Signal::TERM);
    wait_for_drain(&server);
    server.signal(Signal::TERM);
    let data = server.data.clone();
    assert!(server.ended().success());
    // The service waits for the spawner, and that for its keepers.
    assert_eq!(data.processes(), []);
    let next = Server::start_in(&data, &[]);
    let result = next.settled(&id);
    assert!(interrupted(&result) || result.outcome == Some(Outcome::Cancelled), "{result:?}");
}

#[test]
fn history_survives_a_restart() {
    let server = Server::start(&[]);
    let result = server.run(
        &json!({"language": "bash", "code": "echo kept; echo file > f; exit 3", "metadata": {"a": "b"}}),
    );
    let look = |server: &Server| {
        let path = format!("/v1/runs/{}", result.id);
        let events: Vec<_> = server.events(result.id.as_str(), None).collect();
        (
            server.get(&path),
            server.get(&format!("{path}/artifacts/f")),
            events,
            server.get("/v1/runs?metadata=a=b"),
        )
    };
    let before = look(&server);
    let data = server.data.clone();
    drop(server);
    assert_eq!(look(&Server::start_in(&data, &[])), before);
}

#[test]
fn kill_9_leaves_nothing_and_its_runs_are_interrupted() {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let server = Server::start(&["--set", "concurrency=2"]);
    let before = mounts();
    let done = server.run(&json!({"language": "bash", "code": "exit 5"}));
    let unfinished = [start_endless(&server), start_endless(&server), server.submit(&endless())];
    let makers = server.data.processes();
    let data = server.kill();
    data.wait_for_the_last_process();
    let left: Vec<_> = census::leaves().into_iter().filter(|leaf| makers.contains(&leaf.maker)).collect();
    assert_eq!(left, []);
    assert_eq!(mounts(), before);
    let next = Server::start_in(&data, &[]);
    for id in &unfinished {
        let result = next.settled(id);
        assert!(interrupted(&result), "{result:?}");
        // It has events too: an end that can be followed.
        assert_eq!(next.events(id, None).last().unwrap().kind, "settled");
    }
    assert_eq!(next.settled(done.id.as_str()), done);
}

#[test]
fn a_killed_spawner_is_replaced_and_its_runs_go_on() {
    let server = Server::start(&[]);
    let id = start_endless(&server);
    let first = spawner(&server);
    wait_for(&kill(first));
    assert_eq!(server.run(&json!({"language": "bash", "code": "echo next"})).stdout, "next\n");
    // Whether or not somebody needs it now.
    while children(&server.data, server.pid()).iter().all(|pid| *pid == first) {
        std::thread::yield_now();
    }
    assert_ne!(spawner(&server), first);
    assert_eq!(server.run(&json!({"language": "python", "code": "print(6 * 7)"})).stdout, "42\n");
    assert_eq!(server.get_json(&format!("/v1/runs/{id}")).1["state"], "running");
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    assert_eq!(server.settled(&id).outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_killed_keeper_is_a_fault_of_its_run_alone() {
    // No Node waits in a sandbox of its own: that would be a job too.
    let server = Server::start(&["--set", "pool.min=0"]);
    let mine = start_endless(&server);
    let (keeper, init) = busy(&server);
    let other = start_endless(&server);
    let init = pidfd_open(init, PidfdFlags::empty()).unwrap();
    wait_for(&kill(keeper));
    let result = server.settled(&mine);
    assert!(interrupted(&result), "{result:?}");
    wait_for(&init);
    assert_eq!(server.get_json(&format!("/v1/runs/{other}")).1["state"], "running");
    assert_eq!(server.delete(&format!("/v1/runs/{other}")).0, 202);
    assert_eq!(server.settled(&other).outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_data_directory_has_one_service() {
    let server = Server::start(&[]);
    let said = Server::try_start_in(&server.data, &[]).map(drop).unwrap_err();
    assert!(
        said.contains(server.data.path().to_str().unwrap()) && said.contains("is in use by process"),
        "{said}"
    );
    assert_eq!(server.run(&json!({"language": "bash", "code": "echo on"})).stdout, "on\n");
}

#[test]
fn a_start_sweeps_what_the_dead_left() {
    let server = Server::start(&[]);
    let id = start_endless(&server);
    let data = server.data.clone();
    let makers = stop_all(&data);
    let groups = || census::leaves().into_iter().filter(|leaf| makers.contains_key(&leaf.maker)).count();
    assert!(groups() > 0, "the run has no control group");
    // All of them at once, so that nobody tidies up after another. One whose parent died before it is gone already.
    let killed = makers.values().map(|process| pidfd_send_signal(process, Signal::KILL));
    assert!(killed.into_iter().all(|sent| matches!(sent, Ok(()) | Err(Errno::SRCH))));
    makers.values().for_each(wait_for);
    server.ended();
    data.wait_for_the_last_process();
    assert!(groups() > 0, "somebody else removed the control groups");
    let incoming = data.path().join("incoming/run_x");
    std::fs::create_dir_all(&incoming).unwrap();
    std::fs::write(incoming.join("0"), "an artifact that nobody took").unwrap();
    let next = Server::start_in(&data, &[]);
    assert_eq!(next.run(&json!({"language": "bash", "code": "echo on"})).stdout, "on\n");
    assert_eq!((groups(), incoming.exists()), (0, false));
    assert!(interrupted(&next.settled(&id)));
}
