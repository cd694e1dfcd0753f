//! What a sandbox that waits for its run takes: its processes' share of memory, and what the machine has less, which sees the kernel's
//! own memory too. Two services in turns, one with few that wait and one with many more.

use crate::machine::memory_bytes;
use crate::processes::Role;
use crate::python_data::PythonData;
use crate::report::{Row, Table};
use crate::service::Service;
use crate::times::median;
use crate::{Bench, Scenario, machine, say};
use anyhow::Context;
use std::time::{Duration, Instant};

/// How many more wait in one service than in the other.
const MANY: usize = 200;
/// How many wait in the other.
const FEW: usize = 1;
/// How often.
const TURNS: usize = 3;
/// Of plain Python, of bash and of Node one waits beside those of another template.
const OTHERS_MAX: usize = 3;

/// Memory is freed when for so long no more than so much has become available; it is waited for no longer than the second.
const FREED_FOR: Duration = Duration::from_secs(2);
const FREED_WITHIN: Duration = Duration::from_secs(20);
const FREED_BYTES: u64 = 1 << 20;
/// Lines of `/proc/meminfo` that are the kernel's own memory and no cache: what other programs read and write is not in them.
const KERNEL: [&str; 4] = ["SUnreclaim", "KernelStack", "PageTables", "Percpu"];
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// One state of the machine.
pub(super) struct Sample {
    /// What may be had without swapping.
    pub available: u64,
    /// Of the kernel's own, what `KERNEL` names.
    pub kernel: u64,
    /// Shares of memory, of all processes of the service.
    pss: u64,
    pub keepers: u64,
    pub inits: u64,
    /// What runs in sandboxes, or waits there.
    pub jobs: u64,
    zygotes: u64,
}

/// One row for each turn.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let title = format!("{MANY} idle warm sandboxes, per sandbox; {}", machine());
    let columns =
        ["PSS KiB", "of the keeper KiB", "of init KiB", "kernel KiB", "MemAvailable KiB", "zygotes KiB"];
    let mut table = Table::new(Scenario::Memory, title, &columns);
    if bench.options.service.is_some() {
        table.rows.push(Row::absent("sandbox", "needs a service of its own: leave out --url"));
        return Ok(table);
    }
    for template in ["python", "python-data"] {
        let rows = match rows(bench, template, columns.len())? {
            Ok(rows) => rows,
            Err(missing) => vec![Row::absent(template, missing)],
        };
        table.rows.extend(rows);
    }
    table.notes.push("zygotes: once for the service, not for each sandbox; the first turn is the one to trust for MemAvailable: later ones find kernel memory that the one before left half used".into());
    table.notes.push(
        "MemAvailable is the whole machine's: what else starts or ends here meanwhile is in it, too".into(),
    );
    Ok(table)
}

/// A row for each turn and one for the medians, with forks of this template that wait; the inner error says what is missing.
fn rows(bench: &Bench, template: &str, columns: usize) -> anyhow::Result<Result<Vec<Row>, String>> {
    let mut rows = Vec::new();
    let mut all: Vec<[f64; 6]> = Vec::new();
    for turn in 1..=TURNS {
        say(&format!("memory, {template}, turn {turn}"));
        let few = match sample(bench, template, FEW)? {
            Ok(few) => few,
            Err(missing) => return Ok(Err(missing)),
        };
        let many = match sample(bench, template, FEW + MANY)? {
            Ok(many) => many,
            Err(missing) => return Ok(Err(missing)),
        };
        let each = |many: u64, few: u64| (many as f64 - few as f64) / MANY as f64 / 1024.0;
        let figures = [
            each(many.pss - many.zygotes, few.pss - few.zygotes),
            each(many.keepers, few.keepers),
            each(many.inits, few.inits),
            each(many.kernel, few.kernel),
            each(few.available, many.available),
            // Of the service with few: all sandboxes share it.
            few.zygotes as f64 / 1024.0,
        ];
        rows.push(Row::of(format!("{template}, turn {turn}"), figures.map(Some).to_vec()));
        all.push(figures);
    }
    let medians = (0..columns)
        .map(|column| median(&all.iter().map(|figures| figures[column]).collect::<Vec<_>>()))
        .collect();
    rows.push(Row::of(format!("{template}, median"), medians));
    Ok(Ok(rows))
}

/// Waits until the kernel has freed what ended before, which it does in the background: until no more becomes available for a while.
/// Where other programs run it may never seem so, and then it is as it is.
pub(super) fn wait_until_freed() -> anyhow::Result<()> {
    let until = Instant::now() + FREED_WITHIN;
    let available = || memory_bytes("MemAvailable").context("MemAvailable");
    let (mut most, mut since) = (available()?, Instant::now());
    while since.elapsed() < FREED_FOR && Instant::now() < until {
        std::thread::sleep(LOOK);
        let now = available()?;
        if now > most + FREED_BYTES {
            (most, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Starts a service, waits until so many sandboxes of this template wait in it, and looks. The inner error says what is missing.
fn sample(bench: &Bench, template: &str, sandboxes: usize) -> anyhow::Result<Result<Sample, String>> {
    // Of each other kind one waits in both services, whose difference it is not.
    let (others, settings) = match template {
        "python" => (0, vec![format!("pool.min={sandboxes}"), format!("pool.max={sandboxes}")]),
        _ => {
            let most = format!("pool.max={}", sandboxes + OTHERS_MAX);
            (OTHERS_MAX, vec!["pool.min=1".into(), most, format!("pool.warm=[\"{template}={sandboxes}\"]")])
        }
    };
    wait_until_freed()?;
    let settings: Vec<&str> = settings.iter().map(String::as_str).chain(["pool.memory=4GiB"]).collect();
    let service = bench.own_service("memory", &settings)?;
    if template == "python-data"
        && let Err(missing) = PythonData::find(bench, &service)?
    {
        service.end()?;
        return Ok(Err(missing));
    }
    service.wait_for_sandboxes(sandboxes + others)?;
    let sample = look(&service)?;
    service.end()?;
    Ok(Ok(sample))
}

/// Looks at the machine and at every process of a service.
pub(super) fn look(service: &Service) -> anyhow::Result<Sample> {
    let available = memory_bytes("MemAvailable").context("MemAvailable")?;
    let kernel = KERNEL.iter().filter_map(|name| memory_bytes(name)).sum();
    let shares: Vec<(Role, u64)> =
        service.processes().iter().map(|process| (process.role(), process.pss_bytes())).collect();
    let sum = |wanted: &[Role]| {
        shares.iter().filter(|(role, _)| wanted.contains(role)).map(|(_, bytes)| bytes).sum::<u64>()
    };
    Ok(Sample {
        available,
        kernel,
        pss: shares.iter().map(|(_, bytes)| bytes).sum(),
        keepers: sum(&[Role::Keeper]),
        inits: sum(&[Role::Init]),
        jobs: sum(&[Role::Job]),
        zygotes: sum(&[Role::Zygote]),
    })
}
