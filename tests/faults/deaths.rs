//! A party dies at a bad moment.

use fireclay_tests::run::command;
use fireclay_tests::{Order, drive, fireclay, image};
use model::{FaultCode, Language, Outcome, RunRequest};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

fn bash(code: &str) -> model::RunResult {
    let request = RunRequest { language: Some(Language::Bash), code: code.into(), ..RunRequest::default() };
    drive(&Order { request, ..Order::default() })
}

/// Code that says part of its n-th frame and dies: what was said before counts, the rest is dropped, and the outcome is the kernel's.
#[test]
fn the_guest_dies_at_frame_n() {
    for n in 0..6 {
        // Bash has no runner, and its descriptor 3 is the channel itself.
        let whole = r#"printf '\x02\x18\0\0\0{"text/plain":"%05d"}  ' $i >&3"#;
        let code = format!(
            "for ((i = 0; i < {n}; i++)); do {whole}; done; {whole} | head -c {} >&3; kill -ABRT $$",
            1 + n * 4
        );
        let code = code.replace(">&3 | head", "| head");
        let result = bash(&code);
        assert_eq!(
            (result.outcome, result.signal.as_deref()),
            (Some(Outcome::Signalled), Some("SIGABRT")),
            "{result:?}"
        );
        assert_eq!(result.displays.len(), n, "{result:?}");
    }
}

#[test]
fn init_is_killed_and_the_run_is_a_fault_that_may_be_tried_again() {
    let (child, job) = start_long_run(true);
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.0.as_raw_nonzero())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(parent).unwrap(), Signal::KILL).unwrap();
    wait_for_end(&job.1);
    let output = child.wait_with_output().unwrap();
    let result: model::RunResult = serde_json::from_slice(&output.stdout).unwrap();
    let fault = result.fault.unwrap();
    assert_eq!(
        (fault.code, fault.retry_safe, output.status.code()),
        (FaultCode::Interrupted, true, Some(70))
    );
}

#[test]
fn the_supervisor_is_killed_and_everything_dies_with_it() {
    let (mut child, job) = start_long_run(false);
    let groups = || groups_of(child_id(&child));
    assert!(
        !groups().is_empty() || !rustix::process::geteuid().is_root(),
        "the run has no control group to leave"
    );
    let id = child_id(&child);
    child.kill().unwrap();
    wait_for_end(&job.1);
    child.wait().unwrap();
    // What only the dead could have removed, the next command does.
    assert_eq!(fireclay(&["run", "-c", "print(1)"], b"").stdout, "1\n");
    assert_eq!(groups_of(id), Vec::<String>::new());
}

fn child_id(child: &Child) -> u32 {
    child.id()
}

/// Starts a run that never ends and finds its job on the host, by a name that nothing else has.
fn start_long_run(json: bool) -> (Child, (Pid, OwnedFd)) {
    let mark =
        format!("mark-{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "");
    let mut arguments =
        vec!["run", "-l", "bash", "-c", "echo on > /workspace/on; echo on; while :; do :; done", &mark, "--"];
    if json {
        arguments.insert(1, "--json");
    }
    let mut child =
        command(image()).args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if !json {
        let mut first = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    }
    // With --json nothing is told before the end: the job is waited for by looking.
    let job = loop {
        if let Some(job) = find(&mark) {
            break job;
        }
        std::thread::yield_now();
    };
    (child, job)
}

/// The process inside a sandbox that was called with `mark`: not the supervisor, whose user is ours.
fn find(mark: &str) -> Option<(Pid, OwnedFd)> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let line = std::fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.first() == Some(&&b"/usr/bin/bash"[..]) && words.contains(&mark.as_bytes()) {
            let pid = Pid::from_raw(name.parse().unwrap())?;
            return Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?));
        }
    }
    None
}

/// Waits until the process is dead; a leak would hang here, so it is bounded.
fn wait_for_end(process: &OwnedFd) {
    let patience = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut waits = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(poll(&mut waits, Some(&patience)).unwrap(), 1, "the job outlived its supervisor");
}

/// Control groups that a supervisor made.
fn groups_of(pid: u32) -> Vec<String> {
    let prefix = format!("fireclay-{pid}-");
    let parents = match sandbox::host::Host::detect().cgroups {
        Ok(sandbox::cgroup::Tree::V1 { memory, pids, cpu }) => vec![memory, pids, cpu],
        Ok(sandbox::cgroup::Tree::V2 { parent }) => vec![parent],
        Err(_) => Vec::new(),
    };
    let names = parents.iter().flat_map(|parent| std::fs::read_dir(parent).unwrap());
    names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}
