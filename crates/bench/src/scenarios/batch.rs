//! One batch of many mixed programs, 16 wide: every item is answered once, with what is its own, and nothing is left.

use crate::client::Address;
use crate::report::{Row, Table};
use crate::{Bench, Scenario, machine, say};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

/// Runs at once.
const WIDTH: usize = 16;
/// Items for each round: 10,000 at the usual 200.
const ITEMS_PER_ROUND: usize = 50;
/// Longest that the whole may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Ten kinds of item, by the last digit of the index. Node is one in ten, since each start of it takes as long as ten of the others.
fn item(index: usize) -> Value {
    let run =
        |language: &str, code: String| json!({"id": index.to_string(), "language": language, "code": code});
    match index % 10 {
        0 | 1 => run("python", format!("print({index})")),
        2 => run(
            "python",
            format!("import json, re; print(json.dumps([int(re.sub('x', '', '{index}x'))][0]))"),
        ),
        3 => run("bash", format!("echo {index}")),
        4 => run("bash", format!("echo {index} > file; cat file | tr a b")),
        5 => run("bash", format!("echo {index}; exit 3")),
        6 => run("python", format!("print({index}, flush=True); 1 / 0")),
        7 => {
            json!({"id": index.to_string(), "program": {"language": "python", "code": "print(int(input()) + 1)"},
            "cases": [{"stdin": index.to_string(), "expected": (index + 1).to_string()}]})
        }
        8 => json!({"id": index.to_string(), "program": {"language": "bash", "code": "cat"},
            "cases": [{"stdin": index.to_string(), "expected": "something else"}]}),
        _ => run("javascript", format!("console.log({index})")),
    }
}

/// The verdict that an item must have, and whether its run's output comes with it.
fn expected(index: usize) -> (&'static str, bool) {
    match index % 10 {
        5 | 6 => ("failed", true),
        7 => ("passed", false),
        8 => ("wrong_answer", false),
        _ => ("completed", true),
    }
}

/// One row.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let items = bench.options.rounds * ITEMS_PER_ROUND;
    say(&format!("batch, {items} items"));
    let title = format!("one batch of {items} mixed programs, {WIDTH} at once; {}", machine());
    let columns = ["items", "s", "items per s", "lost", "wrong", "sandboxes left"];
    let mut table = Table::new(Scenario::Batch, title, &columns);
    let service = match &bench.options.service {
        Some(_) => bench.service()?,
        None => bench.own_service("batch", &[&format!("concurrency={WIDTH}"), "pool.min=4"])?,
    };
    service.wait_for_rest()?;
    let started = Instant::now();
    let Tally { lost, wrong } = submit(service.address(), items)?;
    let seconds = started.elapsed().as_secs_f64();
    service.wait_for_rest()?;
    let left = service.pid().map(|_| service.sandboxes_in_use()).transpose()?;
    service.end()?;
    let figures = [items as f64, seconds, items as f64 / seconds, lost as f64, wrong as f64].map(Some);
    let figures = figures.into_iter().chain([left.map(|left| left as f64)]).collect();
    table.rows.push(Row::of("python, bash, Node", figures));
    table.notes.push(
        "of ten items three print from Python, two from bash, one from Node, two fail, two are graded".into(),
    );
    ensure!(lost + wrong + left.unwrap_or(0) == 0, "answers are lost or wrong, or sandboxes left:\n{table}");
    Ok(table)
}

/// What was not as it must be.
struct Tally {
    lost: usize,
    wrong: usize,
}

/// Sends the batch and holds each line of the answer to what its item must come to.
fn submit(address: &Address, items: usize) -> anyhow::Result<Tally> {
    let body: String = (0..items).map(|index| format!("{}\n", item(index))).collect();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .build();
    let agent: ureq::Agent = agent.into();
    let url = format!("http://{}/v1/batches?concurrency={WIDTH}", address.host);
    let mut request = agent.post(&url).header("content-type", "application/x-ndjson");
    if let Some(key) = &address.key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let mut answer = request.send(body).context("send the batch")?;
    if answer.status() != 200 {
        anyhow::bail!("{}: {}", answer.status(), answer.body_mut().read_to_string()?);
    }
    let mut answered = vec![0_usize; items];
    let mut wrong = 0;
    let lines = BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader()).lines();
    for line in lines {
        let line: Value = serde_json::from_str(&line.context("read the answers")?)?;
        let Some(index) = line["index"].as_u64().and_then(|index| usize::try_from(index).ok()) else {
            continue;
        };
        let Some(count) = answered.get_mut(index) else {
            wrong += 1;
            continue;
        };
        *count += 1;
        let (verdict, has_output) = expected(index);
        let (id, output) = (index.to_string(), format!("{index}\n"));
        let is_right = line["verdict"] == verdict
            && line["id"] == id
            && (!has_output || line["run"]["stdout"] == output);
        if !is_right && wrong == 0 {
            say(&format!("batch: item {index} is wrong: {line}"));
        }
        wrong += usize::from(!is_right);
    }
    wrong += answered.iter().filter(|count| **count > 1).count();
    Ok(Tally { lost: answered.iter().filter(|count| **count == 0).count(), wrong })
}
