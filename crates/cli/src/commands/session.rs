//! `fireclay session`: opens, uses and closes sandboxes that stay, by the service that has them.

mod attach;
mod copy;
mod talk;
mod whole;

use crate::args::{CreateArguments, SessionArguments, SessionCommand, SessionRunArguments};
use crate::client::{Client, in_query};
use crate::commands::follow::Follower;
use crate::commands::run::{explain_end, print_json, read_text, tell_denied, unreadable};
use crate::env::Settings;
use crate::exit::{FAULT, code_of_outcome};
use crate::local;
use anyhow::Context;
use model::{Language, LimitsPatch, Outcome, Rejection, RunRequest, RunResult, SessionId, units};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// Does what is asked; answers the exit code.
pub fn session(arguments: &SessionArguments, settings: &Settings) -> anyhow::Result<u8> {
    let client = service(arguments.url.as_ref(), settings)?;
    let show = |view: &Value, plain: &dyn Fn(&Value)| {
        if arguments.json { println!("{view}") } else { plain(view) }
    };
    let id_only = |view: &Value| println!("{}", text(view, "id"));
    match &arguments.command {
        SessionCommand::Create(create) => show(&open(&client, create)?, &id_only),
        SessionCommand::List { all } => list(&client, *all, arguments.json)?,
        SessionCommand::Show { session } => {
            let view: Value = client.call("GET", &path_of(&client, session)?, None)?;
            show(&view, &|view| println!("{view:#}"));
        }
        SessionCommand::Run(run) => return run_in(&client, run, arguments.json),
        SessionCommand::Attach { session, language } => {
            return attach::attach(&client, &id_of(&client, session)?, *language, settings);
        }
        SessionCommand::Cp { from, to } => copy::copy(&client, from, to)?,
        SessionCommand::Open { session, port } => {
            let path = format!("{}/ports/{port}", path_of(&client, session)?);
            show(&client.call("POST", &path, None)?, &|view| println!("{}", text(view, "url")));
        }
        SessionCommand::Ls { session, glob } => {
            let glob = glob.as_ref().map(|glob| format!("&glob={}", in_query(glob))).unwrap_or_default();
            let path = format!("{}/files?recursive=true{glob}", path_of(&client, session)?);
            let view: Value = client.call("GET", &path, None)?;
            show(&view, &|view| view["items"].as_array().into_iter().flatten().for_each(show_file));
        }
        SessionCommand::Restart { session } => {
            let path = format!("{}/restart", path_of(&client, session)?);
            show(&client.call("POST", &path, None)?, &id_only);
        }
        SessionCommand::Close { session } => {
            show(&client.call("DELETE", &path_of(&client, session)?, None)?, &id_only);
        }
    }
    Ok(0)
}

/// The service at `url`, else the one of the settings, else the user's local server.
pub(super) fn service(url: Option<&String>, settings: &Settings) -> anyhow::Result<Client> {
    let key = settings.api_key.clone();
    match url.or(settings.url.as_ref()) {
        Some(url) => Client::at(url, key),
        None => Client::to_serving(&local::start(settings)?, key),
    }
}

/// A field that is text; empty if it is not.
fn text<'a>(view: &'a Value, field: &str) -> &'a str {
    view[field].as_str().unwrap_or_default()
}

/// The id that is meant by an id or by the name of a session that is open: of several, the newest.
pub(super) fn id_of(client: &Client, said: &str) -> anyhow::Result<SessionId> {
    if let Ok(id) = said.parse() {
        return Ok(id);
    }
    let named = every(client, "&state=open")?.into_iter().find(|view| text(view, "name") == said);
    let named = named.and_then(|view| text(&view, "id").parse().ok());
    named.ok_or_else(|| {
        let hint = "`fireclay session list` says which there are";
        Rejection::new("SESSION", format!("no open session has the id or name {said:?}"), hint).into()
    })
}

fn path_of(client: &Client, said: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/sessions/{}", id_of(client, said)?))
}

/// All sessions of the caller, newest first.
fn every(client: &Client, filter: &str) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page: Value = client.call("GET", &format!("/v1/sessions?limit=200{filter}{cursor}"), None)?;
        if let Some(items) = page["items"].as_array_mut() {
            all.append(items);
        }
        let Some(next) = page["next"].as_str() else { return Ok(all) };
        cursor = format!("&cursor={}", in_query(next));
    }
}

fn open(client: &Client, create: &CreateArguments) -> anyhow::Result<Value> {
    let CreateArguments { template, language, name, env, background, priority, idle, ttl, .. } = create;
    let CreateArguments { memory, cpus, processes, disk, .. } = create;
    let env: serde_json::Map<_, _> = env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let limits = LimitsPatch {
        memory_bytes: *memory,
        cpus: *cpus,
        processes: *processes,
        disk_bytes: *disk,
        ..LimitsPatch::default()
    };
    let by_template = template
        .as_deref()
        .filter(|name| matches!(*name, "node" | "typescript"))
        .map(|_| Language::JavaScript);
    let packages = create.packages.all(language.or(by_template))?;
    let mut asked = json!({"name": name, "env": env, "limits": limits});
    let said = [
        ("template", template.as_ref().map(|name| json!(name))),
        ("language", language.map(|language| json!(language))),
        ("priority", priority.as_ref().map(|word| json!(word))),
        // Left out by default: a service of before knows no such field.
        ("ports", create.ports.then(|| json!(true))),
        ("durable", create.durable.then(|| json!(true))),
        ("packages", (!packages.is_empty()).then(|| json!(packages))),
        ("auto_packages", create.auto_packages.then(|| json!(true))),
        ("offline", create.packages.offline.then(|| json!(true))),
        ("python", create.packages.python.as_ref().map(|version| json!(version))),
        ("egress", create.egress.of().map(|egress| json!(egress))),
        ("background", background.as_ref().map(|word| json!(word))),
        ("idle_ttl_ms", idle.map(|ms| json!(ms))),
        ("ttl_ms", ttl.map(|ms| json!(ms))),
    ];
    for (field, value) in said.into_iter().filter_map(|(field, value)| Some((field, value?))) {
        asked[field] = value;
    }
    client.call("POST", "/v1/sessions", Some(&asked))
}

fn list(client: &Client, all: bool, as_json: bool) -> anyhow::Result<()> {
    let views = every(client, if all { "" } else { "&state=open" })?;
    if as_json {
        println!("{}", Value::Array(views));
        return Ok(());
    }
    for view in &views {
        let runs = &view["runs"];
        let count = |field: &str| runs[field].as_u64().unwrap_or_default();
        let done = count("completed") + count("failed");
        let state = match text(&view["end"], "why") {
            "" => text(view, "state").to_owned(),
            why => format!("ended: {why}"),
        };
        println!(
            "{}  {:<12}  {:<14}  {done} runs, {} on their way  {}",
            text(view, "id"),
            text(view, "template"),
            state,
            count("queued") + count("running"),
            text(view, "name"),
        );
    }
    Ok(())
}

fn show_file(view: &Value) {
    let size = match text(view, "kind") {
        "file" => units::format_bytes(view["bytes"].as_u64().unwrap_or_default()),
        kind => kind.to_owned(),
    };
    println!("{size:>12}  {}  {}", text(view, "modified_at"), text(view, "path").escape_debug());
}

fn run_in(client: &Client, run: &SessionRunArguments, as_json: bool) -> anyhow::Result<u8> {
    let id = id_of(client, &run.session)?;
    let (code, file_name) = match (&run.code, run.file.as_deref()) {
        (Some(code), _) => (code.clone(), None),
        (None, Some("-")) => (read_text(std::io::stdin().lock(), "standard input")?, None),
        (None, Some(file)) => {
            let opened = File::open(file).map_err(|error| unreadable("FILE", file, &error))?;
            let name = Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
            (read_text(opened, file)?, name)
        }
        (None, None) => unreachable!("clap requires one of them"),
    };
    let stdin = run.stdin.as_ref().map(|path| {
        let name = path.display().to_string();
        read_text(File::open(path).map_err(|error| unreadable("--stdin", &name, &error))?, &name)
    });
    let request = run.reading.on(RunRequest {
        language: run.language.or_else(|| file_name.as_deref().and_then(Language::of_file_name)),
        file_name,
        stdin: stdin.transpose()?,
        env: run.env.iter().cloned().collect(),
        cwd: run.cwd.clone(),
        limits: LimitsPatch { timeout_ms: run.timeout, ..LimitsPatch::default() },
        code,
        ..RunRequest::default()
    });
    let mut body = serde_json::to_value(&request)?;
    body["fresh"] = json!(run.fresh);
    sys::signal::ignore_broken_pipes()?;
    let cancel = sys::signal::as_descriptor(&crate::commands::run::ENDING)?;
    let (run_id, events) = client.run_in(id.as_str(), &body)?;
    let follower = Follower { client, raw: run.raw, quiet: as_json };
    let result = follower.follow(events, &run_id, &cancel)?;
    if as_json {
        print_json(&result)?;
    } else {
        explain(client, &result, run.timeout)?;
    }
    let signal = result.signal.as_deref().and_then(sys::signal::number);
    Ok(result.outcome.map_or(FAULT, |outcome| code_of_outcome(outcome, result.exit_code, signal)))
}

/// Says what the output of a run does not.
fn explain(client: &Client, result: &RunResult, timeout_ms: Option<u64>) -> anyhow::Result<()> {
    if let Some(fault) = &result.fault {
        eprintln!("fireclay: {fault}");
    } else if result.outcome == Some(Outcome::Denied) && !result.findings.is_empty() {
        tell_denied(&result.findings);
    } else if let Some(outcome) = result.outcome {
        let patch = LimitsPatch { timeout_ms, ..LimitsPatch::default() };
        let limits = client.limits(&patch).context("ask for the limits")?;
        explain_end(outcome, result.signal.as_deref(), &limits, &result.isolation.missing);
    }
    if result.state_lost {
        eprintln!("fireclay: the interpreter ended: variables and imports are lost, files are kept");
    }
    Ok(())
}
