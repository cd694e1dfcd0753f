//! How many writes in a second: `TMPDIR=… cargo run --release -p store --example throughput`. Rounds are interleaved, all are
//! printed. The directory decides which disk is measured.

use model::{Fault, FaultCode, Isolation, Language, RunId, RunResult, TenantId};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use store::{Durability, NewRun, Options, Record, Settlement, Store};

const SUBMITTERS: u64 = 64;
const ROUNDS: u64 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir();
    println!("writes/s of {SUBMITTERS} submitters, then of one");
    for round in 1..=ROUNDS {
        for (durability, each) in [(Durability::Commit, 500), (Durability::Fsync, 100)] {
            let data = directory.join(format!("fireclay-throughput-{}", std::process::id()));
            let store = Store::open(&data, Options { durability, ..Options::default() })?;
            let admit = many(each, |number| Ok(store.admit(new_run(number)).wait().map(drop)?))?;
            let settle = many(each, |number| Ok(store.settle(&id(number), settlement(number)).wait()?))?;
            let alone = rate(each, || {
                let numbers = (1 << 40)..(1 << 40) + each;
                numbers.into_iter().try_for_each(|number| {
                    Ok(store.record(new_run(number), None, settlement(number)).wait().map(drop)?)
                })
            })?;
            println!(
                "round {round} {durability:?}: admit {admit:.0}, settle {settle:.0}; alone, both in one: {alone:.0}"
            );
            drop(store);
            std::fs::remove_dir_all(&data)?;
        }
        spool(&directory, round)?;
    }
    Ok(())
}

/// The rate at which all submitters together do `each` writes of different numbers.
fn many(each: u64, write: impl Fn(u64) -> Result<(), Box<dyn Error>> + Sync) -> Result<f64, Box<dyn Error>> {
    rate(SUBMITTERS * each, || {
        std::thread::scope(|scope| {
            let submit = |first| {
                let write = &write;
                move || (first..first + each).all(|number| write(number).is_ok())
            };
            let threads: Vec<_> =
                (0..SUBMITTERS).map(|submitter| scope.spawn(submit(submitter * each))).collect();
            let done = threads.into_iter().all(|thread| thread.join().unwrap_or(false));
            if done { Ok(()) } else { Err("a write failed".into()) }
        })
    })
}

fn rate(count: u64, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn spool(directory: &Path, round: u64) -> Result<(), Box<dyn Error>> {
    let data = directory.join(format!("fireclay-spool-{}", std::process::id()));
    let rate = rate(2000, || {
        (0..2000).try_for_each(|number| {
            let record = Record {
                run: new_run(number),
                started_at_ms: None,
                settled_at_ms: 0,
                result: settlement(number).result,
                trace: None,
                events: Vec::new(),
            };
            Ok(store::spool::write(&data, record, Vec::new(), Durability::Commit)?)
        })
    })?;
    println!("round {round} spool: {:.0} µs each", 1e6 / rate);
    Ok(std::fs::remove_dir_all(&data)?)
}

fn id(number: u64) -> RunId {
    // Scattered, as random ids are.
    RunId::from_random(
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
    )
}

fn new_run(number: u64) -> NewRun {
    NewRun {
        id: id(number),
        tenant: TenantId::local(),
        created_at_ms: 1_795_000_000_000 + (number as i64),
        language: Language::Python,
        request: format!(
            r#"{{"language":"python","code":"import math\nprint(math.factorial({number} % 20))\n"}}"#
        ),
        metadata: BTreeMap::from([("trace".to_owned(), number.to_string())]),
        session: None,
        batch: None,
        trace: None,
        idempotency: None,
    }
}

fn settlement(number: u64) -> Settlement {
    let result = RunResult {
        id: id(number),
        state: model::result::RunState::Settled,
        outcome: None,
        fault: Some(Fault::new(FaultCode::Internal, "measured")),
        exit_code: Some(0),
        signal: None,
        stdout: "2432902008176640000\n".to_owned(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        limits_hit: Vec::new(),
        result: None,
        displays: Vec::new(),
        error: None,
        artifacts: Vec::new(),
        findings: Vec::new(),
        egress: Vec::new(),
        session: None,
        state_lost: false,
        language: Language::Python,
        created_at: "2026-11-18T11:06:40.000Z".to_owned(),
        metadata: BTreeMap::new(),
        usage: model::result::Usage { wall_ms: 3, cpu_ms: 2, memory_peak_bytes: 9 << 20, queue_ms: 0 },
        isolation: Isolation {
            level: "default".to_owned(),
            layers: model::Layer::ALL.to_vec(),
            missing: Vec::new(),
        },
        digests: model::result::Digests::default(),
        receipt: None,
    };
    Settlement {
        settled_at_ms: 0,
        result,
        events: Vec::new(),
        artifacts: Vec::new(),
        verdict: None,
        trace: None,
    }
}
