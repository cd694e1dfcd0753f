//! A look as lines of text, and these as what a terminal draws. Pure. What a service says may hold what a caller wrote: only printable
//! characters of it are drawn.

use super::look::{BUCKETS, Look};
use model::units;
use serde_json::Value;

/// What a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: usize,
    /// Characters of each.
    pub columns: usize,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Head,
    Bad,
    Faint,
}

/// Eighths of a block, from nothing to whole.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of a gauge.
const GAUGE: usize = 12;
/// Characters of a line's name.
const NAME: usize = 11;

/// The lines of a look, for where nothing is drawn.
pub fn plain(look: &Look, size: Size) -> String {
    let size = Size { rows: usize::MAX, ..size };
    lines(look, size).into_iter().map(|(_, line)| line + "\n").collect()
}

/// What a terminal is to be told: each line in its place, the rest of the screen empty.
pub fn drawn(look: &Look, size: Size, color: bool) -> String {
    let mut text = String::from("\x1b[H");
    let lines = lines(look, size);
    let last = lines.len();
    for (place, (tone, line)) in lines.into_iter().enumerate() {
        let code = match tone {
            Tone::Plain => "",
            Tone::Head => "\x1b[1m",
            Tone::Bad if color => "\x1b[31m",
            Tone::Bad => "\x1b[1m",
            Tone::Faint if color => "\x1b[2m",
            Tone::Faint => "",
        };
        text.push_str(code);
        text.push_str(&line);
        text.push_str(if code.is_empty() { "\x1b[K" } else { "\x1b[0m\x1b[K" });
        if place + 1 < last {
            text.push_str("\r\n");
        }
    }
    text + "\x1b[J"
}

fn lines(look: &Look, size: Size) -> Vec<(Tone, String)> {
    let mut lines = vec![(Tone::Head, format!("fireclay top  {}  {}", look.url, look.at))];
    if let Some(error) = &look.error {
        lines.push((Tone::Bad, format!("no answer; asking again: {error}")));
    }
    if !look.traces.is_null() {
        lines.extend(of_traces(look));
        lines.extend(of_the_machine(look));
        lines.extend(of_models(&look.traces));
        lines.extend(over_time(&look.traces));
        lines.extend(failures(&look.traces));
    } else if look.error.is_none() {
        lines.push((Tone::Faint, "looking…".to_owned()));
    }
    let last = (Tone::Faint, "q quits, space looks again".to_owned());
    let room = size.rows.saturating_sub(1);
    lines.truncate(room);
    if size.rows != usize::MAX {
        lines.push(last);
    }
    lines.into_iter().map(|(tone, line)| (tone, fitting(&line, size.columns))).collect()
}

/// As much as a line has room for, of printable characters.
fn fitting(line: &str, columns: usize) -> String {
    let inert = line.chars().map(|char| if char.is_control() { ' ' } else { char });
    // These have a reader's eye go elsewhere without being seen (Unicode, bidirectional controls).
    let seen = inert.filter(|char| !matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'));
    seen.take(columns).collect::<String>().trim_end().to_owned()
}

fn row(name: &str, rest: &str) -> (Tone, String) {
    (Tone::Plain, format!("{name:<NAME$} {rest}"))
}

fn ms(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

fn of_traces(look: &Look) -> Vec<(Tone, String)> {
    let traces = &look.traces;
    let took = &traces["duration_ms"];
    let total = look.sum("fireclay_runs_total");
    let counted =
        if look.metrics.is_some() { format!("   {total:.0} since the start") } else { String::new() };
    let outcomes: Vec<String> = traces["by_outcome"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(outcome, count)| format!("{outcome} {count}"))
        .collect();
    let outcomes = if outcomes.is_empty() { "none".to_owned() } else { outcomes.join("  ") };
    vec![
        row(
            "runs/s",
            &format!(
                "{:.1}   {} traces in 5 min, {} on their way{counted}",
                look.rate, traces["total"], traces["running"]
            ),
        ),
        row(
            "latency",
            &format!(
                "p50 {}   p90 {}   p99 {}   max {}",
                ms(&took["p50"]),
                ms(&took["p90"]),
                ms(&took["p99"]),
                ms(&took["max"])
            ),
        ),
        row("outcomes", &outcomes),
    ]
}

fn gauge(part: f64, whole: f64) -> String {
    let full =
        if whole > 0.0 { (part / whole * GAUGE as f64).round().clamp(0.0, GAUGE as f64) as usize } else { 0 };
    format!("[{}{}]", "#".repeat(full), "-".repeat(GAUGE - full))
}

fn of_the_machine(look: &Look) -> Vec<(Tone, String)> {
    if look.metrics.is_none() {
        return vec![(Tone::Faint, "the machine's numbers need a key of an administrator".to_owned())];
    }
    let number = |name: &str| look.metric(&format!("fireclay_{name}")).unwrap_or(0.0);
    // Whole units, so that figures are short; the largest of which there is one.
    let bytes = |value: f64| {
        let value = value.max(0.0) as u64;
        let unit = [1 << 20, 1 << 10].into_iter().find(|unit| value >= *unit).unwrap_or(1);
        units::format_bytes(value / unit * unit)
    };
    let (places, running) = (number("places"), number("running"));
    let (idle, target, leased) = (number("pool_idle"), number("pool_target"), number("pool_leased"));
    let start = |kind: &str| number(&format!("leases_total{{start=\"{kind}\"}}"));
    let memory = look.metric("process_resident_memory_bytes").map_or_else(|| "-".to_owned(), bytes);
    vec![
        row(
            "places",
            &format!(
                "{} {running:.0} of {places:.0}   {:.0} queued",
                gauge(running, places),
                number("queued")
            ),
        ),
        row(
            "pool",
            &format!(
                "{} {leased:.0} leased  {idle:.0} idle  of {target:.0}   {:.0} warm starts, {:.0} cold",
                gauge(leased, target),
                start("warm"),
                start("cold")
            ),
        ),
        row("sessions", &format!("{:.0} open", number("sessions"))),
        row(
            "memory",
            &format!(
                "{memory} of the service   {} free on the machine",
                bytes(number("memory_available_bytes"))
            ),
        ),
        row(
            "store",
            &format!(
                "{}   artifacts {}   {:.0} runs",
                bytes(number("store_bytes")),
                bytes(number("artifact_bytes")),
                number("stored_runs")
            ),
        ),
    ]
}

fn of_models(traces: &Value) -> Vec<(Tone, String)> {
    let models = traces["models"].as_array().into_iter().flatten().take(3);
    let line = |model: &Value| {
        let text = format!(
            "{}   {} calls, {} failed   {} tokens in, {} out   ${:.4}   {} each",
            model["model"].as_str().unwrap_or("?"),
            model["calls"],
            model["failed"],
            model["tokens_in"],
            model["tokens_out"],
            model["cost_usd"].as_f64().unwrap_or(0.0),
            ms(&model["duration_ms_mean"]),
        );
        row("model", &text)
    };
    models.map(line).collect()
}

/// How many began in each part of the time.
fn over_time(traces: &Value) -> Vec<(Tone, String)> {
    let buckets = traces["buckets"].as_array().into_iter().flatten();
    let count = |bucket: &Value| {
        bucket["by_outcome"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum::<u64>()
    };
    let counts: Vec<u64> = buckets.map(count).take(BUCKETS).collect();
    let most = counts.iter().max().copied().unwrap_or(0);
    let bar = |count: &u64| match most {
        0 => BARS[0],
        most => BARS[usize::try_from((count * 8).div_ceil(most)).unwrap_or(0).min(8)],
    };
    let bars: String = counts.iter().map(bar).collect();
    vec![row("5 min", &format!("|{bars}| most {most}"))]
}

fn failures(traces: &Value) -> Vec<(Tone, String)> {
    let failed: Vec<&Value> = traces["failed_lately"].as_array().into_iter().flatten().collect();
    if failed.is_empty() {
        return vec![(Tone::Faint, "nothing failed lately".to_owned())];
    }
    let mut lines = vec![(Tone::Head, "failed lately".to_owned())];
    for trace in failed {
        let text = |name: &str| trace[name].as_str().unwrap_or_default();
        let time = text("started_at").get(11..19).unwrap_or_default();
        let said =
            if text("output_preview").is_empty() { text("input_preview") } else { text("output_preview") };
        lines.push((
            Tone::Bad,
            format!(
                "{time}  {:<12} {:<14} {:>9}  {said}",
                text("outcome"),
                text("name"),
                ms(&trace["duration_ms"])
            ),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn look() -> Look {
        let metrics = [
            ("fireclay_places", 32.0),
            ("fireclay_running", 8.0),
            ("fireclay_store_bytes", 70_000.0),
            ("fireclay_memory_available_bytes", 5_000_000.0),
            ("fireclay_runs_total{outcome=\"completed\"}", 3.0),
        ];
        let traces = json!({
            "total": 3, "running": 1, "by_outcome": {"completed": 2, "failed": 1}, "duration_ms": {"p50": 3.04, "p90": 50.0, "p99": 12345.0, "max": 12345.0},
            "models": [], "buckets": [{"by_outcome": {"completed": 2}}, {"by_outcome": {}}, {"by_outcome": {"failed": 1}}],
            "failed_lately": [{"started_at": "2026-01-02T03:04:05.000000Z", "outcome": "failed", "name": "python run", "duration_ms": 50.0,
                "input_preview": "1/0", "output_preview": "evil \u{1b}]0;title\u{7}\u{202e}name"}],
        });
        Look {
            url: "http://here".to_owned(),
            at: "03:04:10 UTC".to_owned(),
            metrics: Some(metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            traces,
            rate: 1.5,
            ..Look::default()
        }
    }

    #[test]
    fn a_view_says_what_is_going_on() {
        let text = plain(&look(), Size { rows: 24, columns: 80 });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "fireclay top  http://here  03:04:10 UTC",
                "runs/s      1.5   3 traces in 5 min, 1 on their way   3 since the start",
                "latency     p50 3.0 ms   p90 50 ms   p99 12.3 s   max 12.3 s",
                "outcomes    completed 2  failed 1",
                "places      [###---------] 8 of 32   0 queued",
            ]
        );
        assert!(text.contains("68KiB   artifacts 0B") && text.contains("   4MiB free"), "{text}");
        assert!(lines.contains(&"5 min       |█ ▄| most 2"), "{text}");
        assert!(lines.last().unwrap().starts_with("03:04:05  failed       python run"), "{text}");
        let gone = Look { error: Some("refused".to_owned()), ..look() };
        let text = plain(&gone, Size { rows: 24, columns: 80 });
        assert!(text.contains("no answer; asking again: refused") && text.contains("completed 2"), "{text}");
    }

    #[test]
    fn nothing_that_a_caller_wrote_is_obeyed_and_nothing_leaves_the_screen() {
        for (rows, columns) in [(24, 80), (5, 20), (1, 1), (60, 200)] {
            for color in [true, false] {
                let text = drawn(&look(), Size { rows, columns }, color);
                let body = text.strip_prefix("\x1b[H").unwrap().strip_suffix("\x1b[J").unwrap();
                assert!(body.split("\r\n").count() <= rows, "{rows}: {body:?}");
                for line in body.split("\r\n") {
                    let mut seen = line.to_owned();
                    for own in ["\x1b[K", "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"] {
                        seen = seen.replace(own, "");
                    }
                    assert!(
                        seen.chars().count() <= columns && !seen.chars().any(char::is_control),
                        "{seen:?}"
                    );
                }
                assert_eq!(text.contains("\x1b[31m"), color && rows > 12);
            }
        }
    }
}
