//! Kills at random under load: the spawner, a zygote, a keeper, an init, or the service itself. Every run that was acknowledged has
//! its own true outcome, or a fault that says it may be sent again; the service goes on; nothing is left.

use bench::processes::{self, Process, Role};
use fireclay_tests::server::{PATIENCE, wait_for};
use fireclay_tests::{Data, Server, census};
use model::{FaultCode, Outcome, RunResult};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

/// How often, when nobody says otherwise: `cargo xtask kills N` does.
const TIMES: usize = 20;
/// How often, in the environment.
const TIMES_VARIABLE: &str = "FIRECLAY_KILLS";
/// Whoever may be killed, in turn.
const VICTIMS: [Role; 5] = [Role::Spawner, Role::Zygote, Role::Keeper, Role::Init, Role::Service];
/// Clients that wait for their results, and as many that do not.
const CLIENTS: usize = 3;
/// A kill comes at a random moment of this time after the one before.
const BETWEEN_MS: u64 = 150;
/// After a kill a new run is to be answered within this; printed, since a machine may be busy.
const HEALED: Duration = Duration::from_secs(1);

/// What the programs of all clients are told apart by.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What clients were told of runs, by id: the number of the program, and the whole answer if there was one.
type Told = Mutex<BTreeMap<String, (u64, Option<Value>)>>;

/// The service of the moment. Nobody asks while there is none.
struct Place {
    server: RwLock<Option<Server>>,
    is_over: AtomicBool,
    told: Told,
}

impl Place {
    fn with<T>(&self, act: impl FnOnce(&Server) -> T) -> T {
        let server = self.server.read().unwrap();
        act(server.as_ref().expect("there is one but for the moment of its change"))
    }

    /// Submits runs until all is over.
    fn submit(&self, wait: bool) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            self.with(|server| match send(server, number, wait) {
                // The service was killed: nothing was acknowledged.
                None => {}
                Some((200, body)) => self.note(number, &body, Some(body.clone())),
                Some((202, body)) => {
                    self.note(number, &body, None);
                    // Until it is over, or the service is: its events end then.
                    let id = body["id"].as_str().unwrap();
                    drop(server.try_send("GET", &format!("/v1/runs/{id}/events"), &[], b""));
                }
                Some((status, body)) => panic!("{status}: {body}"),
            });
        }
    }

    fn note(&self, number: u64, body: &Value, answer: Option<Value>) {
        let id = body["id"].as_str().expect("a run has an id");
        self.told.lock().unwrap().insert(id.to_owned(), (number, answer));
    }

    /// Kills a process of this role and sees it dead; false if there is none now.
    fn kill(&self, victim: Role, random: u64) -> bool {
        let processes = self.with(|server| processes::tree(server.pid().as_raw_nonzero().get() as u32));
        let found: Vec<&Process> = processes.iter().filter(|process| process.role() == victim).collect();
        if found.is_empty() {
            return false;
        }
        let pid = Pid::from_raw(found[random as usize % found.len()].pid as i32).unwrap();
        // It may have ended by itself meanwhile.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        if kill_process(pid, Signal::KILL).is_err() {
            return false;
        }
        wait_for(&process);
        if victim == Role::Service {
            let mut server = self.server.write().unwrap();
            let data = server.take().expect("it was there").kill();
            *server = Some(start(&data));
        }
        true
    }

    /// Waits until a new run, a fork of a zygote, is answered as it must be.
    fn wait_until_healed(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let number = NEXT.fetch_add(2, Ordering::Relaxed) | 1;
            let answer = self.with(|server| send(server, number, true));
            if let Some((200, body)) = &answer {
                self.note(number, body, Some(body.clone()));
                if body["stdout"] == format!("{number}\n") {
                    return;
                }
            }
            assert!(Instant::now() < until, "the service does not heal: {answer:?}");
        }
    }
}

fn start(data: &Data) -> Server {
    Server::start_in(data, &["--set", "concurrency=4"])
}

/// Odd numbers are printed by Python, even ones by bash, after a moment in which they can be hit. `None` if no whole answer came.
fn send(server: &Server, number: u64, wait: bool) -> Option<(u16, Value)> {
    let (language, code) = match number % 2 {
        0 => ("bash", format!("sleep 0.0{}; echo {number}", number % 5)),
        _ => ("python", format!("import time; time.sleep({} / 100); print({number})", number % 5)),
    };
    let metadata = json!({"number": number.to_string()});
    let request = json!({"language": language, "code": code, "wait": wait, "metadata": metadata});
    let headers = [("content-type", "application/json")];
    let answer = server.try_send("POST", "/v1/runs", &headers, request.to_string().as_bytes()).ok()?;
    Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
}

/// Holds what is kept of a run to what its client was told, and both to what its program does; returns its fate.
fn check(server: &Server, id: &str, number: u64, told: Option<&Value>) -> &'static str {
    let (status, kept) = server.get_json(&format!("/v1/runs/{id}"));
    assert_eq!(status, 200, "{id} is lost or unsettled: {kept}");
    told.inspect(|told| assert_eq!(kept, **told, "a client was told otherwise"));
    let result: RunResult = serde_json::from_value(kept).unwrap();
    assert_eq!(result.metadata["number"], number.to_string(), "answers are crossed");
    if let Some(fault) = &result.fault {
        assert!(fault.retry_safe && result.outcome.is_none(), "{result:?}");
        assert_eq!(fault.code, FaultCode::Interrupted, "{result:?}");
        return "interrupted";
    }
    // Above all no outcome that a kill of ours made up, such as `signalled`.
    let wanted = (Some(Outcome::Completed), Some(0), format!("{number}\n"));
    assert_eq!((result.outcome, result.exit_code, result.stdout.clone()), wanted, "{result:?}");
    "completed"
}

fn random() -> u64 {
    u64::from_ne_bytes(sys::fs::random().unwrap()[..8].try_into().unwrap())
}

#[test]
fn whoever_is_killed_every_run_has_a_true_fate() {
    let times = std::env::var(TIMES_VARIABLE).ok().map_or(TIMES, |text| text.parse().expect("a number"));
    let data = Data::fresh();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let place = Place {
        server: RwLock::new(Some(start(&data))),
        is_over: AtomicBool::new(false),
        told: Told::default(),
    };
    let mut healing: BTreeMap<Role, Vec<Duration>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let over = Over(&place.is_over);
        for client in 0..2 * CLIENTS {
            let place = &place;
            scope.spawn(move || place.submit(client < CLIENTS));
        }
        for turn in 0..times {
            // Not a wait for anything: a moment like any other.
            std::thread::sleep(Duration::from_millis(random() % BETWEEN_MS));
            let victim = VICTIMS[turn % VICTIMS.len()];
            let until = Instant::now() + PATIENCE;
            let mut began = Instant::now();
            while !place.kill(victim, random()) {
                assert!(Instant::now() < until, "there is no {victim:?}");
                std::thread::yield_now();
                began = Instant::now();
            }
            place.wait_until_healed();
            healing.entry(victim).or_default().push(began.elapsed());
        }
        drop(over);
    });
    let server = place.server.into_inner().unwrap().unwrap();
    let told = place.told.into_inner().unwrap();
    let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, (number, answer)) in &told {
        if answer.is_none() {
            server.settled(id);
        }
        *fates.entry(check(&server, id, *number, answer.as_ref())).or_default() += 1;
    }
    for unsettled in ["queued", "running"] {
        let (_, page) = server.get_json(&format!("/v1/runs?state={unsettled}"));
        assert_eq!(page["items"], json!([]));
    }
    drop(server);
    // What belonged to a service or a spawner that was killed ends by itself, and nobody waits for it.
    data.wait_for_the_last_process();
    let orphans = census::abandoned();
    // The next service removes what those left who could not.
    let swept = start(&data);
    assert_eq!(swept.run(&json!({"language": "bash", "code": "echo on"})).stdout, "on\n");
    drop(swept);
    let left: Vec<_> = orphans.iter().filter(|leaf| leaf.path.exists()).collect();
    assert!(left.is_empty(), "control groups are left: {left:?}");
    assert_eq!(std::fs::read_dir(data.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(mounts(), before);
    println!("{times} times killed, {} runs: {fates:?}", told.len());
    for (victim, times) in healing {
        let ms: Vec<u128> = times.iter().map(Duration::as_millis).collect();
        let late = times.iter().filter(|time| **time > HEALED).count();
        println!(
            "{victim:?}: a new run answered after {ms:?} ms, {late} later than {} ms",
            HEALED.as_millis()
        );
    }
}

/// Says that all is over, also when a test fails before.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where the random kills hit is chance; here it is not: who is killed under a run decides what the run is told.
#[test]
fn a_run_whose_sandbox_is_killed_is_a_fault_and_one_whose_program_is_killed_is_an_outcome() {
    let server = Server::start(&["--set", "pool.min=0", "--set", "pool.max=0"]);
    let program = json!({"language": "bash", "code": "sleep 600", "limits": {"timeout_ms": 600_000}});
    for victim in [Role::Keeper, Role::Init, Role::Job] {
        let id = server.submit(&program);
        let until = Instant::now() + PATIENCE;
        let pid = loop {
            let tree = processes::tree(server.pid().as_raw_nonzero().get() as u32);
            let parent_of = |pid: u32| tree.iter().find(|process| process.pid == pid).map(|of| of.parent);
            // Bash has become a program of its own when it has a child.
            let sleeper = tree.iter().find(|process| process.depth == 5);
            let job = sleeper.map(|sleeper| sleeper.parent);
            let init = job.and_then(parent_of);
            let found = match victim {
                Role::Job => job,
                Role::Init => init,
                _ => init.and_then(parent_of),
            };
            if let Some(found) = found {
                break Pid::from_raw(found as i32).unwrap();
            }
            assert!(Instant::now() < until, "no {victim:?} comes: {tree:?}");
            std::thread::yield_now();
        };
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let result = server.settled(&id);
        // A dying process closes its descriptors, which settles the run, before it lets go of its children: until then the next turn
        // would find the sandbox of this one (do_exit in kernel/exit.c: exit_files, then exit_notify).
        wait_for(&process);
        if victim == Role::Job {
            assert_eq!(
                (result.outcome, result.signal.as_deref()),
                (Some(Outcome::Signalled), Some("SIGKILL"))
            );
        } else {
            let fault = result.fault.expect("a fault");
            assert_eq!(
                (fault.code, fault.retry_safe),
                (FaultCode::Interrupted, true),
                "{victim:?}: {fault:?}"
            );
        }
    }
}
