//! Builds a template of an operator's: its packages, then its files and what its commands leave, each in a sandbox, each a layer.

use super::own::{OwnTemplate, place_of};
use super::{NotReady, Template};
use crate::image::Image;
use crate::image::packages::{Found, PackageLayer};
use crate::installer::site::{Shown, Site};
use crate::installer::{Asked, Installer, Over, Wanted};
use crate::run::hex;
use model::{Fault, FaultCode, Language, Rejection, TEMPLATE_DIRECTORY, TemplateDefinition};
use packages::interpreter::wish;
use packages::{npm, requirement};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// The directory of the sandbox's `/tmp` whose content becomes that of the template.
const MADE: &str = "template";

impl Installer {
    /// Builds a template, a tenant's own or everybody's, and keeps it; its name stands for it then. `tell` hears a line for each thing done and what commands say.
    pub async fn build_template(
        &self,
        mut definition: TemplateDefinition,
        tenant: Option<String>,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<OwnTemplate, NotReady> {
        if definition.base.is_empty() {
            definition.base = Language::Python.default_template().to_owned();
        }
        definition.check()?;
        if Template::shipped(&definition.name).is_some() {
            let message = format!("{:?} is a template that comes with fireclay", definition.name);
            return Err(Rejection::new("name", message, "take another name").into());
        }
        let Some(base) = Template::shipped(&definition.base) else {
            let names: Vec<String> = Template::all().map(|template| template.name).collect();
            let hint = format!("use one of: {}", names.join(", "));
            return Err(Rejection::new("base", format!("there is no {:?}", definition.base), hint).into());
        };
        let wanted = wanted(&base, &definition.packages)?;
        let for_python = base.languages.first().is_some_and(|row| row.name == Language::Python);
        if !definition.modules.is_empty() && !for_python {
            let message = format!("{:?} has no Python that is kept warm", definition.base);
            return Err(Rejection::new("modules", message, "leave them out, or take the base python").into());
        }
        if definition.compile.is_some() && base.declared.as_ref().is_none_or(|base| base.compile.is_none()) {
            let message = format!("programs of {:?} are not compiled", definition.base);
            return Err(Rejection::new("compile", message, "leave it out, or take a base such as c").into());
        }
        let python = match &definition.python {
            Some(word) => self.have_python(None, vec![("python", wish(word)?)]).await?,
            None => None,
        };
        let image = self.pythons().chosen(definition.image.as_deref(), python.as_deref())?;
        has_interpreter(&image, &base, definition.image.as_deref())?;
        let store = self.templates();
        let place = place_of(
            &tenant
                .as_ref()
                .map_or_else(|| definition.name.clone(), |tenant| format!("{tenant}/{}", definition.name)),
        )
        .map_err(failed)?;
        let mut layers = Vec::new();
        if !wanted.is_empty() {
            tell(&format!("installing {}", definition.packages.join(", ")));
            let asked = Asked {
                tenant: &place,
                over: Over {
                    template: &base.name,
                    python: python.as_deref(),
                    image: definition.image.as_deref(),
                },
                wanted: &wanted,
                any: false,
                offline: false,
            };
            let layer = self.keeping_in(store.layers()).install(&asked).await?;
            tell(&format!("installed {}", layer.manifest.packages.join(", ")));
            layers.push(layer);
        }
        let has_work = !definition.setup.is_empty() || !definition.files.is_empty();
        if has_work || !definition.modules.is_empty() {
            let made = self.work_of_template((&definition, &place), (&base, &image), &layers, tell).await?;
            layers.splice(0..0, made);
        }
        let own = OwnTemplate::new(definition, (tenant, python), &layers);
        store.keep(&own).map_err(failed)?;
        tell(&format!("built {}@{}", own.definition.name, own.version()));
        Ok(own)
    }

    /// Puts files down and has commands done, over the packages; returns what was made, if anything was.
    async fn work_of_template(
        &self,
        (definition, place): (&TemplateDefinition, &str),
        base: (&Template, &Image),
        layers: &[PackageLayer],
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Option<PackageLayer>, NotReady> {
        let image = self.image_of(base, layers)?;
        let egress = definition.setup_egress.clone().unwrap_or_default();
        let site = Site::open_on(self, image, egress, &definition.env).await?;
        let made = self.work_in(&site, (definition, place), tell).await;
        site.close();
        made
    }

    async fn work_in(
        &self,
        site: &Site,
        (definition, place): (&TemplateDefinition, &str),
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Option<PackageLayer>, NotReady> {
        let files = site.files()?;
        files.make_directory(MADE).map_err(failed)?;
        for file in &definition.files {
            let path = format!("{MADE}/{}", file.path);
            files.write(&path, file.content.as_bytes(), file.executable).map_err(failed)?;
        }
        for (number, command) in definition.setup.iter().enumerate() {
            tell(&format!("setup {}: {command}", number + 1));
            let said = site.show(&format!("cd {MADE}\n{command}")).await?;
            tell_lines(&said, tell);
            if !said.completed {
                let message = format!("command {} {}: {}", number + 1, said.ended, said.end());
                return Err(Rejection::new("setup", message, "mend it and build again").into());
            }
        }
        if !definition.modules.is_empty() {
            let modules = definition.modules.join(", ");
            tell(&format!("importing {modules}"));
            let said = site.show(&format!("python3 -c 'import {modules}'")).await?;
            if !said.completed {
                let message = format!("they cannot be imported: {}", said.end());
                return Err(
                    Rejection::new("modules", message, "name what its packages have, or add those").into()
                );
            }
        }
        if definition.setup.is_empty() && definition.files.is_empty() {
            return Ok(None);
        }
        let found = Found {
            path: MADE,
            from: site.files()?,
            site: PathBuf::from(TEMPLATE_DIRECTORY),
            lock: String::new(),
            runtime: String::new(),
            packages: Vec::new(),
            template: definition.base.clone(),
            most_bytes: self.settings().limits.disk_bytes,
        };
        let said = serde_json::to_string(definition).map_err(failed)?;
        let key = hex(&Sha256::digest(format!("files {}\n{said}", jiff::Timestamp::now())));
        let (store, name) = (self.templates().layers().clone(), place.to_owned());
        let keeping = tokio::task::spawn_blocking(move || store.keep(&name, &[&key], &found));
        Ok(Some(keeping.await.map_err(failed)?.map_err(failed)?))
    }
}

/// Says whether the named image has the interpreter of the base's first language.
fn has_interpreter(image: &Image, base: &Template, named: Option<&str>) -> Result<(), Rejection> {
    let runtimes = &image.manifest.runtimes;
    let missing = match base.languages.first().map(|row| row.name) {
        Some(Language::Python) if runtimes.python.is_none() => "Python",
        Some(Language::JavaScript | Language::TypeScript) if runtimes.node.is_none() => "Node",
        _ => return Ok(()),
    };
    // Without one of its own a template is refused as its base is, when it is used.
    named.map_or(Ok(()), |name| {
        let message = format!("the image {name:?} has no {missing}, which {:?} needs", base.name);
        Err(Rejection::new("image", message, "name another, or take another base"))
    })
}

/// What commands said, a line at a time.
fn tell_lines(said: &Shown, tell: &mut (dyn FnMut(&str) + Send)) {
    said.stdout.lines().chain(said.stderr.lines()).for_each(tell);
}

fn wanted(base: &Template, packages: &[String]) -> Result<Wanted, Rejection> {
    let first = base.languages.first().map(|row| row.name);
    match first {
        Some(Language::JavaScript | Language::TypeScript) => {
            npm::parse_list(packages).map(Wanted::Node).map_err(|wrong| wrong.rejection("packages"))
        }
        Some(language) if language.is_declared() && !packages.is_empty() => {
            let hint = "take the base python or node, or lay files down";
            Err(Rejection::new("packages", format!("{language} has no packages"), hint))
        }
        Some(Language::Bash) if !packages.is_empty() => {
            let hint = "take the base python or node";
            Err(Rejection::new("packages", "bash has no packages", hint))
        }
        _ => {
            requirement::parse_list(packages).map(Wanted::Python).map_err(|wrong| wrong.rejection("packages"))
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("build a template: {error}"))
}
