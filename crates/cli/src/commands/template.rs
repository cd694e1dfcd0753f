//! `fireclay template`: lists and shows templates, installs and removes their packages.

use crate::args::{TemplateArguments, TemplateCommand};
use crate::commands::image::ensure;
use crate::commands::progress::Bar;
use crate::env::Settings;
use anyhow::Context;
use model::{Rejection, units};
use worker::image::environment::{Environment, EnvironmentStore};
use worker::image::{DEFAULT_NAME, ImageStore, Runtime};
use worker::template::Template;

/// Carries out one command on templates.
pub fn template(arguments: &TemplateArguments, settings: &Settings) -> anyhow::Result<u8> {
    let store = EnvironmentStore::open(&settings.data);
    match &arguments.command {
        TemplateCommand::List { json } => list(&store, settings, *json),
        TemplateCommand::Show { template, json } => show(&Template::find(template)?, &store, settings, *json),
        TemplateCommand::Build { template, image } => {
            build(&Template::find(template)?, image, &store, settings)
        }
        TemplateCommand::Remove { template } => remove(&Template::find(template)?, &store),
    }
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

fn list(store: &EnvironmentStore, settings: &Settings, json: bool) -> anyhow::Result<u8> {
    let python = python(settings);
    let mut rows = Vec::new();
    for template in Template::all() {
        let environment = installed(&template, store, python.as_ref())?;
        let state = match (&environment, template.lock()) {
            (Some(_), _) => "installed",
            (None, Some(_)) => "not installed",
            (None, None) => "-",
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
    println!("{:<14} {:<24} {:<14} PURPOSE", "NAME", "LANGUAGES", "PACKAGES");
    for (template, _, state) in rows {
        let languages: Vec<&str> = template.languages.iter().map(|row| row.name.name()).collect();
        println!("{:<14} {:<24} {state:<14} {}", template.name, languages.join(", "), template.purpose);
    }
    Ok(0)
}

fn show(
    template: &Template,
    store: &EnvironmentStore,
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
    template.leave_out.iter().for_each(|line| row("left out", &line.path, &line.reason));
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
