//! `fireclay template`: lists and shows templates, builds and removes them.

use crate::args::{TemplateArguments, TemplateCommand};
use crate::client::{Client, in_query};
use crate::commands::image::ensure;
use crate::commands::progress::Bar;
use crate::env::Settings;
use crate::local;
use crate::terminal::Inert;
use anyhow::Context;
use model::{Rejection, units};
use sandbox::run::Refused;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use worker::image::environment::{Environment, EnvironmentStore};
use worker::image::{DEFAULT_NAME, ImageStore, Runtime};
use worker::template::{Template, TemplateStore};

/// Carries out one command on templates.
pub fn template(arguments: &TemplateArguments, settings: &Settings) -> anyhow::Result<u8> {
    let store = EnvironmentStore::open(&settings.data);
    let templates = TemplateStore::open(&settings.data, &settings.path);
    match &arguments.command {
        TemplateCommand::List { json } => list(&templates, &store, settings, *json),
        TemplateCommand::Show { template, json } => {
            show(&templates.find(template).map_err(Refused::from)?, (&store, &templates), settings, *json)
        }
        TemplateCommand::Build { template, image } => match Template::shipped(template) {
            Some(template) if template.declared.is_some() => copy(&template, image, &templates, settings),
            Some(template) => build(&template, image, &store, settings),
            None => build_own(template, settings),
        },
        TemplateCommand::Remove { template } => match Template::shipped(template) {
            Some(template) => remove(&template, &store),
            None => remove_own(template, &templates, settings),
        },
    }
}

/// Has a server build the template of a file, and shows what it says.
fn build_own(path: &str, settings: &Settings) -> anyhow::Result<u8> {
    let definition = definition_of(Path::new(path))?;
    let client = Client::to_serving(&local::start(settings)?, settings.api_key.clone())?;
    let path_of = format!("/v1/templates/{}", in_query(definition["name"].as_str().unwrap_or_default()));
    let packages = || client.call::<Value>("GET", &path_of, None).map(|view| packages_of(&view));
    // None of that name is nothing to compare with.
    let before = packages().unwrap_or_default();
    let mut kind = String::new();
    for line in client.post_for_events("/v1/templates", &definition)?.lines() {
        let line = line.context("read what the service says")?;
        let (field, value) = line.split_once(": ").unwrap_or((&line, ""));
        let data = || serde_json::from_str::<Value>(value).context("understand the service");
        match (field, kind.as_str()) {
            ("event", _) => value.clone_into(&mut kind),
            ("data", "line") => eprintln!("{}", inert(data()?["text"].as_str().unwrap_or_default())),
            ("data", "built") => {
                let built = data()?;
                let word = |key: &str| built[key].as_str().unwrap_or_default().to_owned();
                if !before.is_empty() {
                    changes(&before, &packages()?).iter().for_each(|change| eprintln!("{change}"));
                }
                println!("{} {}@{} sha256:{}", word("name"), word("name"), word("version"), word("digest"));
                return Ok(0);
            }
            ("data", "problem") => {
                let problem = data()?;
                let word = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
                return Err(Rejection::new(word("field"), word("detail"), word("hint")).into());
            }
            _ => {}
        }
    }
    anyhow::bail!("the service broke off; its log says more")
}

/// The packages of a template by their names, with their versions.
fn packages_of(view: &Value) -> BTreeMap<String, String> {
    let packages = view["packages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let parted = packages.map(|package| package.split_once(' ').unwrap_or((package, "")));
    parted.map(|(name, version)| (inert(name), inert(version))).collect()
}

/// What is another than it was: a release that was moved or withdrawn shows here.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let new = after.iter().filter_map(|(name, version)| match before.get(name) {
        None => Some(format!("changed: {name} {version} is new")),
        Some(old) if old != version => Some(format!("changed: {name} {old} is {version} now")),
        Some(_) => None,
    });
    let gone = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| format!("changed: {name} is gone"));
    new.chain(gone).collect()
}

/// What a build said, as a terminal may show it.
fn inert(text: &str) -> String {
    String::from_utf8_lossy(&Inert::default().push(text.as_bytes())).into_owned()
}

/// The definition in a file; what a `source` names is read, relative to the file.
fn definition_of(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "name a shipped template (`fireclay template list`), or a file such as science.toml";
        Rejection::new("template", format!("{}: {error}", path.display()), hint)
    })?;
    let mut definition: Value = toml::from_str(&text).map_err(|error| {
        Rejection::new(
            "template",
            format!("{}: {error}", path.display()),
            "mend the file; docs/templates.md has the form",
        )
    })?;
    let files = definition.get_mut("files").and_then(Value::as_array_mut);
    for file in files.into_iter().flatten().filter_map(Value::as_object_mut) {
        let Some(source) = file.remove("source") else { continue };
        let source = source.as_str().unwrap_or_default();
        let place = path.parent().unwrap_or(Path::new("")).join(source);
        let bytes = std::fs::read(&place).map_err(|error| {
            Rejection::new("files", format!("{}: {error}", place.display()), "name a file that is there")
        })?;
        file.insert("base64".to_owned(), model::base64::encode(&bytes).into());
    }
    Ok(definition)
}

fn remove_own(name: &str, templates: &TemplateStore, settings: &Settings) -> anyhow::Result<u8> {
    templates.find(name).map_err(Refused::from)?;
    match Client::answering(&settings.data, settings.api_key.clone()) {
        // It may have sandboxes of it waiting.
        Some(client) => client.call::<()>("DELETE", &format!("/v1/templates/{name}"), None)?,
        None => drop(templates.remove(name)?),
    }
    println!("removed {name}");
    Ok(0)
}

fn build(
    template: &Template,
    image: &str,
    store: &EnvironmentStore,
    settings: &Settings,
) -> anyhow::Result<u8> {
    let (image, _hold) = ensure(image, settings)?;
    let bar = Bar::new("packages", settings.color);
    let built = template.with_recipe(|recipe| {
        store.build(recipe, &image, &settings.path, &mut |progress| bar.show(progress))
    });
    bar.finish();
    let built = built.ok_or_else(|| without_packages(template))?;
    let built = built.with_context(|| format!("install the packages of {}", template.name))?;
    println!("{} {}", template.name, built.digest);
    Ok(0)
}

/// Copies what a declared language needs, unless it is there as the machine has it.
fn copy(
    template: &Template,
    image: &str,
    templates: &TemplateStore,
    settings: &Settings,
) -> anyhow::Result<u8> {
    let (image, _hold) = ensure(image, settings)?;
    let declared = template.declared.as_ref().ok_or_else(|| without_packages(template))?;
    let (toolchain, _held) =
        templates.toolchains().have(template, declared, &image).map_err(Refused::from)?;
    println!("{} {}", template.name, toolchain.digest);
    Ok(0)
}

fn remove(template: &Template, store: &EnvironmentStore) -> anyhow::Result<u8> {
    if template.lock().is_none() {
        return Err(without_packages(template).into());
    }
    let gone = store.remove(&template.name)?;
    if gone.is_empty() {
        println!("the packages of {} are not installed", template.name);
    }
    gone.iter().for_each(|digest| println!("removed {digest}"));
    Ok(0)
}

fn without_packages(template: &Template) -> Rejection {
    let hint = "it is made from the image alone, which `fireclay image build` makes";
    Rejection::new("template", format!("{:?} has no packages", template.name), hint)
}

/// The Python of the default image, if that was built.
fn python(settings: &Settings) -> Option<Runtime> {
    ImageStore::open(&settings.data).find(DEFAULT_NAME).ok().flatten()?.manifest.runtimes.python
}

/// What is installed of a template for this Python.
fn installed(
    template: &Template,
    store: &EnvironmentStore,
    python: Option<&Runtime>,
) -> anyhow::Result<Option<Environment>> {
    let found = python.and_then(|python| template.with_recipe(|recipe| store.find(recipe, python)));
    Ok(found.transpose()?.flatten())
}

fn list(
    templates: &TemplateStore,
    store: &EnvironmentStore,
    settings: &Settings,
    json: bool,
) -> anyhow::Result<u8> {
    let python = python(settings);
    let mut rows = Vec::new();
    for template in templates.all(None)? {
        let environment = installed(&template, store, python.as_ref())?;
        let state = match (&environment, template.lock()) {
            _ if template.own.is_some() => "built",
            (Some(_), _) => "installed",
            (None, Some(_)) => "not installed",
            (None, None) => match &template.declared {
                None => "-",
                Some(declared) => match templates.toolchains().check(&template, declared) {
                    Ok(()) => "here",
                    Err(_) => "not here",
                },
            },
        };
        rows.push((template, environment, state));
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(template, environment, _)| {
                let names = |row: &worker::template::Row<String>| row.name.clone();
                serde_json::json!({"name": template.name, "purpose": template.purpose,
                    "languages": template.languages.iter().map(|row| row.name).collect::<Vec<_>>(),
                    "packages": template.packages.iter().map(names).collect::<Vec<_>>(),
                    "environment": environment.as_ref().map(|environment| &environment.digest)})
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(0);
    }
    println!("{:<14} {:<24} {:<14} PURPOSE", "NAME", "LANGUAGES", "STATE");
    for (template, _, state) in rows {
        let languages: Vec<&str> = template.languages.iter().map(|row| row.name.name()).collect();
        println!("{:<14} {:<24} {state:<14} {}", template.name, languages.join(", "), template.purpose);
    }
    Ok(0)
}

fn show(
    template: &Template,
    (store, templates): (&EnvironmentStore, &TemplateStore),
    settings: &Settings,
    json: bool,
) -> anyhow::Result<u8> {
    let environment = installed(template, store, python(settings).as_ref())?;
    if json {
        let manifest = environment.as_ref().map(|environment| &environment.manifest);
        let both = serde_json::json!({"template": template, "environment": manifest});
        println!("{}", serde_json::to_string_pretty(&both)?);
        return Ok(0);
    }
    println!("{}: {}", template.name, template.purpose);
    let row = |kind: &str, name: &str, reason: &str| println!("{kind:<10} {name:<32} {reason}");
    template.languages.iter().for_each(|line| row("language", line.name.name(), &line.reason));
    template.packages.iter().for_each(|line| row("package", &line.name, &line.reason));
    template.modules.iter().for_each(|line| row("module", &line.name, &line.reason));
    let rehearsals = template.rehearsals.iter().zip(1..);
    rehearsals.for_each(|(line, number)| row("rehearsal", &format!("program {number}"), &line.reason));
    template
        .env
        .iter()
        .for_each(|line| row("variable", &format!("{}={}", line.name, line.value), &line.reason));
    if let Some(declared) = &template.declared {
        declared.programs.iter().for_each(|line| row("program", &line.name, &line.reason));
        declared.paths.iter().for_each(|line| row("path", &line.name, &line.reason));
        row("compiled", declared.compile.as_deref().unwrap_or("not"), "");
        row("run", &declared.run.join(" "), "");
        if let Err(missing) = templates.toolchains().check(template, declared) {
            println!("{missing}");
        }
    }
    template.leave_out.iter().for_each(|line| row("left out", &line.path, &line.reason));
    if let Some(own) = &template.own {
        row("base", &own.definition.base, "");
        row("version", &template.address(), &own.created_at);
        row("digest", &format!("sha256:{}", own.digest), "");
        row("content", &units::format_bytes(own.bytes), "");
        return Ok(0);
    }
    match environment {
        Some(Environment { digest, manifest, .. }) => {
            row("digest", &digest, "");
            row("for", &format!("Python {}", manifest.python.version), "");
            row("content", &format!("{} files, {}", manifest.files, units::format_bytes(manifest.bytes)), "");
            row("versions", &manifest.packages.join(", "), "");
        }
        None if template.lock().is_some() => {
            println!("not installed: `fireclay template build {}` does it", template.name);
        }
        None => {}
    }
    Ok(0)
}
