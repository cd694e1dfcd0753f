//! The spans of a run: its phases, what it tried to reach, what went in and came out. Pure.

use super::span::{Showing, Span, SpanEvent, SpanKind, SpanStatus};
use super::timeline::Times;
use crate::models::ReviewUse;
use model::{EgressVerdict, Language, RunRequest, RunResult};
use serde_json::{Map, Value, json};
use store::{RunRecord, TracePart};

/// Most paths of artifacts that a span names.
const PATHS_MAX: usize = 100;

/// The type of a program.
pub fn media_type(language: Language) -> &'static str {
    match language {
        Language::Python => "text/x-python",
        Language::JavaScript => "text/javascript",
        Language::TypeScript => "text/typescript",
        Language::Bash => "text/x-shellscript",
        Language::C => "text/x-c",
        Language::Cpp => "text/x-c++",
        Language::Rust => "text/x-rust",
        Language::Go => "text/x-go",
        Language::Java => "text/x-java",
        Language::Ruby => "text/x-ruby",
        Language::Perl => "text/x-perl",
        Language::Php => "text/x-php",
        Language::R => "text/x-r",
    }
}

/// The tree of a run that is a part of a trace.
pub fn span_of(
    part: &TracePart,
    record: &RunRecord,
    live: Option<&Times>,
    showing: &mut Showing<'_>,
) -> Span {
    let request: Option<RunRequest> = serde_json::from_str(&record.request).ok();
    let result = record.parsed().ok().flatten();
    let language = record.row.language;
    let mut root = Span::between(format!("{language} run"), part.began_us, part.ended_us)
        .with("fireclay.run.id", part.object.as_str())
        .with("fireclay.language", language.name())
        .with("fireclay.session.id", record.row.session.clone())
        .with("fireclay.batch.id", record.row.batch.as_ref().map(|(batch, _)| batch.to_string()))
        .with("fireclay.batch.index", record.row.batch.as_ref().map(|(_, index)| *index))
        .with("fireclay.verdict", record.row.verdict.clone());
    root.id = part.span.to_string();
    root.parent = part.parent.map(|span| span.to_string());
    root.kind = SpanKind::Server;
    if let Some(request) = &request {
        root = root.with("fireclay.template", request.template.clone());
        root.input = showing.payload(media_type(language), &request.code);
        root = asked(root, request, showing);
    }
    let stored = part.measured.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let times: Times = stored.or_else(|| live.cloned()).unwrap_or_default();
    root.children = phases(part, &times);
    match &result {
        Some(result) => settled(root, result, &times, part.began_us, showing),
        None => root,
    }
}

/// What the request says beside its code, as far as it may be shown: enough to ask for the same again, or to see what is missing for that.
fn asked(root: Span, request: &RunRequest, showing: &mut Showing<'_>) -> Span {
    let said = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let number = |count: usize| (count > 0).then_some(count);
    let limits = json!(request.limits);
    let stdin = request.stdin.as_deref().and_then(|text| showing.payload("text/plain", text));
    let (text, truncated) = stdin.map_or((None, false), |stdin| (stdin.text, stdin.truncated));
    root.with("fireclay.packages", said(&request.packages))
        .with("fireclay.auto_packages", request.auto_packages.then_some(true))
        .with("fireclay.offline", request.offline.then_some(true))
        .with("fireclay.python", request.python.clone())
        .with("fireclay.egress.hosts", request.egress.as_ref().and_then(|egress| said(&egress.allow)))
        .with("fireclay.limits", limits.as_object().is_some_and(|said| !said.is_empty()).then_some(limits))
        .with("fireclay.check", request.check.map(|mode| json!(mode)))
        .with("fireclay.check_policy", request.check_policy.as_ref().map(|policy| json!(policy)))
        .with("fireclay.review", request.review.then_some(true))
        .with("fireclay.stdin", text)
        .with("fireclay.stdin.truncated", truncated.then_some(true))
        .with("fireclay.args.count", number(request.args.len()))
        .with("fireclay.env.count", number(request.env.len()))
        .with("fireclay.files.count", number(request.files.len()))
}

/// What was measured, in the order in which it was done.
pub fn phases(part: &TracePart, times: &Times) -> Vec<Span> {
    let of = |(name, start, took): &(String, i64, i64)| {
        let start_us = part.began_us.saturating_add(*start);
        let mut span = Span::between(name.clone(), start_us, Some(start_us.saturating_add(*took)));
        span.status = SpanStatus::Ok;
        match &times.review {
            Some(used) if name == "review" => reviewed(span, used),
            _ => span,
        }
    };
    times.spans.iter().map(of).collect()
}

/// A review for which a model was asked, as the conventions for generative models have it.
pub fn reviewed(span: Span, used: &ReviewUse) -> Span {
    let (provider, model) = used.model.split_once(':').unwrap_or(("", &used.model));
    let span = span
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", provider)
        .with("gen_ai.request.model", model)
        .with("gen_ai.usage.input_tokens", used.input_tokens)
        .with("gen_ai.usage.output_tokens", used.output_tokens)
        .with("gen_ai.usage.cache_read.input_tokens", used.cached_tokens)
        .with("fireclay.cost_usd", used.dollars);
    Span { kind: SpanKind::Client, ..span }
}

/// What the result adds.
fn settled(
    mut root: Span,
    result: &RunResult,
    times: &Times,
    began_us: i64,
    showing: &mut Showing<'_>,
) -> Span {
    let usage = &result.usage;
    root = root
        .with("fireclay.outcome", result.outcome.map(model::Outcome::name))
        .with("fireclay.exit_code", result.exit_code)
        .with("fireclay.signal", result.signal.clone())
        .with("fireclay.wall_ms", usage.wall_ms)
        .with("fireclay.cpu_ms", usage.cpu_ms)
        .with("fireclay.memory_peak_bytes", usage.memory_peak_bytes)
        .with("fireclay.queue_ms", usage.queue_ms)
        .with("fireclay.isolation.level", result.isolation.level.as_str())
        .with("fireclay.isolation.layers", json!(result.isolation.layers))
        .with("fireclay.isolation.missing", json!(result.isolation.missing))
        .with("fireclay.state_lost", result.state_lost.then_some(true));
    if !result.limits_hit.is_empty() {
        root = root.with("fireclay.limits_hit", json!(result.limits_hit));
    }
    if let Some(end_us) = root.end_us
        && root.children.iter().all(|child| child.name != "execution")
        && usage.wall_ms > 0
    {
        // Not measured: a one-shot run, or one whose times were lost.
        let wall_us = i64::try_from(usage.wall_ms).unwrap_or(0).saturating_mul(1000);
        let start_us = (end_us - wall_us).max(root.start_us);
        root.children.push(Span::between("execution", start_us, Some(end_us)));
    }
    root = judged(root, result, showing);
    root.output = output(result, showing);
    let findings: Vec<SpanEvent> = findings(result, root.start_us);
    for child in &mut root.children {
        match child.name.as_str() {
            "check" => child.events.clone_from(&findings),
            "execution" => {
                child.status = root.status;
                child.message.clone_from(&root.message);
                child.children = egress(result, times, began_us, child);
            }
            "artifacts" if !result.artifacts.is_empty() => {
                let first = result.artifacts.iter().take(PATHS_MAX);
                let paths: Vec<_> = first.map(|artifact| artifact.path.as_str()).collect();
                let bytes: u64 = result.artifacts.iter().map(|artifact| artifact.bytes).sum();
                child.attributes.insert("fireclay.artifacts.paths".to_owned(), json!(paths));
                child.attributes.insert("fireclay.artifacts.bytes".to_owned(), json!(bytes));
            }
            _ => {}
        }
    }
    root
}

/// Whether it went well.
fn judged(root: Span, result: &RunResult, showing: &mut Showing<'_>) -> Span {
    if let Some(fault) = &result.fault {
        return root.failed(fault.to_string()).with("error.type", json!(fault.code));
    }
    match (result.outcome, &result.error) {
        (Some(model::Outcome::Completed) | None, _) => Span { status: SpanStatus::Ok, ..root },
        (Some(_), Some(error)) => root
            .failed_as(showing.words(&format!("{}: {}", error.name, error.message)))
            .with("error.type", showing.words(&error.name))
            .with("exception.stacktrace", showing.words(&error.traceback)),
        (Some(outcome), None) => root.failed(outcome.name()).with("error.type", outcome.name()),
    }
}

/// What came of it, the most telling first.
fn output(result: &RunResult, showing: &mut Showing<'_>) -> Option<super::Payload> {
    let own = result.result.as_ref().and_then(|bundle| bundle.get("text/plain")).and_then(Value::as_str);
    let mut text = result.stdout.clone();
    for more in [own, Some(result.stderr.as_str())].into_iter().flatten().filter(|more| !more.is_empty()) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(more);
    }
    showing.payload("text/plain", &text)
}

/// One line of what came of it, for lists.
pub fn gist(result: &RunResult) -> String {
    if let Some(fault) = &result.fault {
        return fault.to_string();
    }
    if let Some(error) = &result.error {
        return format!("{}: {}", error.name, error.message);
    }
    let own = result.result.as_ref().and_then(|bundle| bundle.get("text/plain")).and_then(Value::as_str);
    let texts = [own.unwrap_or_default(), &result.stdout, &result.stderr];
    texts.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default().chars().take(2_000).collect()
}

fn findings(result: &RunResult, at_us: i64) -> Vec<SpanEvent> {
    let of = |finding: &model::Finding| {
        let mut attributes = Map::new();
        attributes.insert("rule".to_owned(), finding.rule.as_str().into());
        attributes.insert("severity".to_owned(), finding.severity.name().into());
        attributes.insert("verdict".to_owned(), finding.verdict.name().into());
        attributes.insert("line".to_owned(), finding.line.into());
        attributes.insert("reason".to_owned(), finding.reason.as_str().into());
        SpanEvent { name: "finding".to_owned(), at: super::time(at_us), attributes }
    };
    result.findings.iter().map(of).collect()
}

fn egress(result: &RunResult, times: &Times, began_us: i64, within: &Span) -> Vec<Span> {
    let of = |(place, attempt): (usize, &model::EgressAttempt)| {
        let took_us = i64::try_from(attempt.ms).unwrap_or(0).saturating_mul(1000);
        let over = times.egress.get(place).map(|offset| began_us.saturating_add(*offset));
        let end_us = over.or(within.end_us).unwrap_or(within.start_us);
        let start_us = end_us.saturating_sub(took_us).max(within.start_us).min(end_us);
        let span = Span::between(format!("egress {}:{}", attempt.host, attempt.port), start_us, Some(end_us))
            .with("server.address", attempt.host.as_str())
            .with("server.port", attempt.port)
            .with("fireclay.egress.verdict", attempt.verdict.name())
            .with("fireclay.egress.bytes_up", attempt.bytes_up)
            .with("fireclay.egress.bytes_down", attempt.bytes_down);
        let span = Span { kind: SpanKind::Client, ..span };
        match attempt.verdict {
            EgressVerdict::Allowed => Span { status: SpanStatus::Ok, ..span },
            EgressVerdict::Refused | EgressVerdict::Failed => span.failed(attempt.reason.as_str()),
        }
    };
    result.egress.iter().enumerate().map(of).collect()
}
