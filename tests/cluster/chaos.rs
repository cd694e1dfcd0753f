//! Whatever dies, stops or is cut off, in random order by a printed seed: every run that was acknowledged has its own answer, once.

use super::lab::{Lab, Node, ask, printing};
use fireclay_tests::Data;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

/// Runs, when nobody says otherwise: `cargo xtask chaos N` does.
const RUNS: usize = 300;
/// How many, in the environment; and the seed, to see the same order again.
const RUNS_VARIABLE: &str = "FIRECLAY_CHAOS";
const SEED_VARIABLE: &str = "FIRECLAY_CHAOS_SEED";
/// Clients that submit at once.
const CLIENTS: usize = 4;
/// Runs for each blow, and blows at least: each kind comes before one comes again.
const RUNS_A_BLOW: usize = 25;
const BLOWS_MIN: usize = 12;
/// Kinds of blows; some come twice.
const KINDS: [u64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// How long all may take to be settled when nothing dies any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// Numbers by a seed (xorshift64*, Vigna 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }
}

/// What clients were told: run, gateway, and the number that its program prints.
type Told = Mutex<BTreeMap<String, (usize, u64)>>;

struct Clients {
    /// Doors of gateways that are there.
    doors: [RwLock<Option<(String, String)>>; 3],
    told: Told,
    next: AtomicU64,
    is_over: AtomicBool,
    /// How many may be told by now: as many come with each blow.
    wanted: AtomicUsize,
    refused: AtomicUsize,
}

impl Clients {
    fn submit(&self, first: usize) {
        let mut at = first;
        while !self.is_over.load(Ordering::Relaxed) {
            if self.told.lock().unwrap().len() >= self.wanted.load(Ordering::Relaxed) {
                // Until the next blow.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            at = (at + 1) % 3;
            let Some((url, key)) = self.doors[at].read().unwrap().clone() else {
                std::thread::yield_now();
                continue;
            };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let mut request = printing(&format!("nonce-{number}"));
            // Some are still running when something dies.
            if number.is_multiple_of(7) {
                request["code"] = json!(format!("sleep 2; echo nonce-{number}"));
            }
            request["wait"] = json!(false);
            match ask(&url, &key, "POST", "/v1/runs", &request).map(|answer| answer.into_json()) {
                Ok((202, body)) => {
                    let id = body["id"].as_str().unwrap().to_owned();
                    self.told.lock().unwrap().insert(id, (at, number));
                }
                // Nothing was acknowledged.
                _ => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

struct Stage<'a> {
    lab: &'a mut Lab,
    clients: &'a Clients,
    gateways: Vec<Option<Node>>,
    workers: Vec<Option<Node>>,
    data: Vec<Data>,
    done: BTreeMap<&'static str, usize>,
}

impl Stage<'_> {
    fn start_gateway(&mut self, n: usize) {
        let node =
            self.lab.gateway(n, &format!("g{}", n + 1), &self.data[n], &["--set", "cluster.worker=false"]);
        *self.clients.doors[n].write().unwrap() = Some(node.door());
        self.gateways[n] = Some(node);
    }

    fn start_worker(&mut self, n: usize) {
        self.workers[n] = Some(self.lab.worker(n, &format!("w{}", n + 1), &self.data[3 + n], &[]));
    }

    /// One blow, and what heals it. Never two servers at once: of three, two are a majority.
    fn strike(&mut self, kind: u64, random: &mut Random) {
        let n = random.below(3) as usize;
        let pause = Duration::from_millis(500 + random.below(1500));
        let long = Duration::from_millis(11_000 + random.below(3000));
        let what = match kind {
            0 | 1 => {
                drop(self.workers[n].take().map(Node::kill));
                std::thread::sleep(pause);
                self.start_worker(n);
                "worker killed"
            }
            2 => {
                // In the middle of what clients say to it.
                drop(self.gateways[n].take().map(Node::kill));
                *self.clients.doors[n].write().unwrap() = None;
                std::thread::sleep(pause);
                self.start_gateway(n);
                "gateway killed"
            }
            3 | 4 => {
                self.lab.kill_server(n);
                std::thread::sleep(pause);
                self.lab.start_server(n);
                "server killed"
            }
            5 => {
                self.workers[n].as_ref().unwrap().signal(Signal::STOP);
                std::thread::sleep(long);
                self.workers[n].as_ref().unwrap().signal(Signal::CONT);
                "worker stopped past its lease"
            }
            6 => {
                self.lab.signal_server(n, Signal::STOP);
                std::thread::sleep(pause * 2);
                self.lab.signal_server(n, Signal::CONT);
                "server stopped"
            }
            _ => {
                self.lab.cable(n, false);
                std::thread::sleep(if random.below(2) == 0 { pause } else { long });
                self.lab.cable(n, true);
                "host cut off"
            }
        };
        *self.done.entry(what).or_default() += 1;
    }
}

#[test]
fn nothing_is_lost_or_settled_twice_whatever_dies() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let wanted = number(RUNS_VARIABLE).map_or(RUNS, |runs| runs as usize);
    let fresh = || u64::from_ne_bytes(sys::fs::random().unwrap()[..8].try_into().unwrap());
    let seed = number(SEED_VARIABLE).unwrap_or_else(fresh) | 1;
    fireclay_tests::run::loudly(&format!("chaos: {wanted} runs, {SEED_VARIABLE}={seed}\n"));
    let mut random = Random(seed);
    let mut lab = Lab::three(&["g1", "g2", "g3"], &["w1", "w2", "w3"]);
    let clients = Clients {
        doors: Default::default(),
        told: Told::default(),
        next: AtomicU64::new(1),
        is_over: AtomicBool::new(false),
        wanted: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    };
    let data: Vec<_> = (0..6).map(|_| Data::fresh()).collect();
    let empty = || (0..3).map(|_| None).collect::<Vec<Option<Node>>>();
    let mut stage = Stage {
        lab: &mut lab,
        clients: &clients,
        gateways: empty(),
        workers: empty(),
        data,
        done: BTreeMap::new(),
    };
    (0..3).for_each(|n| stage.start_gateway(n));
    (0..3).for_each(|n| stage.start_worker(n));
    let began = Instant::now();
    std::thread::scope(|scope| {
        // However the stage ends, clients do.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&clients.is_over);
        for n in 0..CLIENTS {
            let clients = &clients;
            scope.spawn(move || clients.submit(n));
        }
        let blows = (wanted / RUNS_A_BLOW).max(BLOWS_MIN);
        let mut deck = Vec::new();
        for blow in 1..=blows {
            if deck.is_empty() {
                deck = KINDS.to_vec();
            }
            let kind = deck.swap_remove(random.below(deck.len() as u64) as usize);
            clients.wanted.store(wanted * blow / blows, Ordering::Relaxed);
            stage.strike(kind, &mut random);
        }
        while clients.told.lock().unwrap().len() < wanted {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let submitted = began.elapsed();
    let told = clients.told.lock().unwrap().clone();
    let until = Instant::now() + PATIENCE;
    let mut wrong = Vec::new();
    for (id, (at, number)) in &told {
        let gateway = stage.gateways[*at].as_ref().unwrap();
        let run = loop {
            let answer = gateway.try_ask("GET", &format!("/v1/runs/{id}"), &Value::Null);
            let (status, run) = answer.expect("nothing dies any more").into_json();
            if !matches!(status, 200 | 202) || run["state"] == "settled" || Instant::now() > until {
                break run;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if run["outcome"] != "completed" || run["stdout"] != format!("nonce-{number}\n") {
            wrong.push(format!("{id} of g{}: {run}", at + 1));
        }
    }
    // Those that nobody was told of, too.
    for gateway in stage.gateways.iter().flatten() {
        gateway.wait_for_metric("fireclay_cluster_outstanding", |count| count == 0.0);
    }
    let settled: u64 = stage.gateways.iter().flatten().map(settled_by).sum();
    let recorded: u64 = stage.gateways.iter().flatten().map(recorded_by).sum();
    fireclay_tests::run::loudly(&format!(
        "chaos: {} runs acknowledged in {submitted:?}, {} not, all settled {:?} later; {:?}\n",
        told.len(),
        clients.refused.load(Ordering::Relaxed),
        began.elapsed() - submitted,
        stage.done
    ));
    assert!(
        wrong.is_empty(),
        "{} of {} are lost or not their own:\n{}",
        wrong.len(),
        told.len(),
        wrong.join("\n")
    );
    assert!(recorded >= told.len() as u64, "{recorded} records of {} runs", told.len());
    assert_eq!(settled, recorded, "every run that there is was settled once");
}

/// How many settlements a gateway counted, in all that it ever was.
fn settled_by(gateway: &Node) -> u64 {
    let (_, usage) = gateway.ask("GET", "/v1/usage", &Value::Null);
    usage["items"].as_array().unwrap().iter().map(|row| row["runs"].as_u64().unwrap()).sum()
}

/// How many runs a gateway has.
fn recorded_by(gateway: &Node) -> u64 {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let (status, page) = gateway.ask("GET", &format!("/v1/runs?limit=200{cursor}"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        count += page["items"].as_array().unwrap().len() as u64;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}
