//! The compile step of declared languages: in a sandbox of its own that reaches nothing, sees no file of a tenant but those of this program, and
//! has limits of its own. What it makes is kept as packages are, by all that it was made from, each tenant's apart.

use super::site::Site;
use super::{Asked, Installer, Over, Wanted, failed};
use crate::image::packages::{Found, PackageLayer};
use crate::run::hex;
use crate::template::declared::Declared;
use crate::template::{NotReady, Prepared, Template};
use model::{Egress, Limit, Outcome, RunResult, RunSpec};
use sandbox::image::PROGRAM_DIRECTORY;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;

/// The version of how programs are compiled.
const SCHEMA: u32 = 1;
/// The directory of the sandbox's `/tmp` with the program's files.
const SOURCE: &str = "program";
/// And the one for what is made of them.
const MADE: &str = "made";
/// How many programs that do not compile are remembered: those that are judged by many cases are compiled once.
const REFUSED_MAX: usize = 256;

/// What became of a program before it could run.
#[derive(Debug, Clone)]
pub enum Compiled {
    /// Its language needs no such step.
    AsItIs,
    /// It is there.
    Program(PackageLayer),
    /// The compiler did not take it, or touched a limit.
    Refused(Refused),
}

/// Why there is no program.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The compiler's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error, or how it was ended.
    pub stderr: String,
    /// The limits of the step that it touched.
    pub limits_hit: Vec<Limit>,
}

/// Programs that a compiler refused, the newest last.
pub(super) type RefusedBefore = VecDeque<((String, String), Refused)>;

impl Installer {
    /// Compiles the program of a run whose language needs it. Who asks for one that is being compiled waits for that.
    pub async fn compile(&self, tenant: &str, spec: &RunSpec) -> Result<Compiled, NotReady> {
        if !spec.language.is_declared() {
            return Ok(Compiled::AsItIs);
        }
        let template = Template::of(spec, &self.inner.templates)?;
        let Some(declared) = template.declared.clone() else { return Ok(Compiled::AsItIs) };
        let Some(command) = declared.compile.clone() else { return Ok(Compiled::AsItIs) };
        let (image, hold) = self.image_that_compiles(template.clone(), declared).await?;
        let key = key_of(&template, &command, &image.digest, spec);
        if let Some(layer) = self.inner.store.find(tenant, &key).map_err(failed)? {
            return Ok(Compiled::Program(layer));
        }
        let name = (tenant.to_owned(), key.clone());
        if let Some(refused) = self.refused_before(&name) {
            return Ok(Compiled::Refused(refused));
        }
        let building = self.building().entry(name.clone()).or_default().clone();
        let (installer, spec, tenant) = (self.clone(), spec.clone(), tenant.to_owned());
        // In a task of its own: a client that breaks off leaves it to those who wait as well.
        let task = tokio::spawn(async move {
            let _hold = hold;
            let built = building.get_or_init(|| async {
                // Nobody closes it.
                let _place = installer.inner.compilers.acquire().await;
                let asked = Asked {
                    tenant: &tenant,
                    over: Over { template: &spec.template, python: None, image: None },
                    wanted: &Wanted::Python(Vec::new()),
                    any: true,
                    offline: false,
                };
                installer.build_program(&asked, image, &command, &spec, &name.1).await
            });
            let built = built.await.clone();
            installer.building().remove(&name);
            (built, installer.refused_before(&name))
        });
        match task.await.map_err(failed)? {
            (Ok(layer), _) => Ok(Compiled::Program(layer)),
            (Err(NotReady::Rejected(_)), Some(refused)) => Ok(Compiled::Refused(refused)),
            (Err(other), _) => Err(other),
        }
    }

    /// What the compile step sees: what its template's runs do, and the toolchain; and what keeps that from being removed.
    async fn image_that_compiles(
        &self,
        template: Template,
        declared: Declared,
    ) -> Result<(sandbox::Image, (Prepared, File)), NotReady> {
        let installer = self.clone();
        let preparing = tokio::task::spawn_blocking(move || {
            let super::Inner { pythons, environments, templates, .. } = &*installer.inner;
            let image = &pythons.chosen(template.image(), None)?;
            let prepared = template.clone().prepare(image, environments, templates)?;
            let mut seen = prepared.image.clone();
            let (toolchain, hold) = templates.toolchains().have(&template, &declared, image)?;
            if !seen.layers.contains(&toolchain.rootfs) {
                seen.layers.insert(0, toolchain.rootfs);
                seen.digest = format!("{}+{}", seen.digest, toolchain.digest);
            }
            Ok((seen, (prepared, hold)))
        });
        preparing.await.map_err(failed)?
    }

    async fn build_program(
        &self,
        asked: &Asked<'_>,
        image: sandbox::Image,
        command: &str,
        spec: &RunSpec,
        key: &str,
    ) -> Result<PackageLayer, NotReady> {
        let limits = self.inner.settings.compile;
        let variables = image.env.clone();
        let site = Site::open_within(self, image, Egress::default(), &variables, limits).await?;
        let built = self.build_program_in(&site, asked, command, spec, key).await;
        site.close();
        built
    }

    async fn build_program_in(
        &self,
        site: &Site,
        asked: &Asked<'_>,
        command: &str,
        spec: &RunSpec,
        key: &str,
    ) -> Result<PackageLayer, NotReady> {
        let files = site.files()?;
        files.make_directory(MADE).map_err(failed)?;
        let own = (spec.file_name.as_str(), spec.code.as_bytes());
        let beside = spec.files.iter().map(|file| (file.path.as_str(), file.content.as_bytes()));
        for (path, content) in beside.chain([own]) {
            files.write(&format!("{SOURCE}/{path}"), content, false).map_err(failed)?;
        }
        let result = site.result(&script(command, &spec.file_name)).await?;
        if let Some(fault) = result.fault {
            return Err(fault.into());
        }
        if result.outcome != Some(Outcome::Completed) {
            return Err(self.refuse((asked.tenant, key), &result));
        }
        let found = Found {
            path: MADE,
            from: site.files()?,
            site: PathBuf::from(PROGRAM_DIRECTORY),
            lock: String::new(),
            runtime: spec.language.name().to_owned(),
            packages: vec![spec.file_name.clone()],
            template: asked.over.template.to_owned(),
            most_bytes: self.inner.settings.compile.disk_bytes,
        };
        let (store, tenant, own_key) = (self.inner.store.clone(), asked.tenant.to_owned(), key.to_owned());
        let most = self.inner.settings.cache_bytes;
        let keeping = tokio::task::spawn_blocking(move || {
            let kept = store.keep(&tenant, &[&own_key], &found);
            if let Err(error) = store.prune(most) {
                crate::log::warn(format_args!("make room for programs: {error}"));
            }
            kept
        });
        match keeping.await.map_err(failed)? {
            Ok(layer) => Ok(layer),
            // What was made is no program, or too much.
            Err(error) => {
                let said = RunResult { stderr: format!("{}{error}\n", result.stderr), ..result };
                Err(self.refuse((asked.tenant, key), &said))
            }
        }
    }

    /// Remembers that a program was refused; the error says only that it was.
    fn refuse(&self, (tenant, key): (&str, &str), result: &RunResult) -> NotReady {
        let refused = Refused {
            exit_code: result.exit_code,
            stdout: result.stdout.clone(),
            stderr: match result.outcome {
                Some(Outcome::Completed | Outcome::Failed) | None => result.stderr.clone(),
                Some(outcome) => format!("{}the compile step was ended: {outcome}\n", result.stderr),
            },
            limits_hit: result.limits_hit.clone(),
        };
        let mut before = self.refused();
        if before.len() >= REFUSED_MAX {
            before.pop_front();
        }
        before.push_back(((tenant.to_owned(), key.to_owned()), refused));
        NotReady::Rejected(model::Rejection::new("code", "it does not compile", "mend it"))
    }

    fn refused_before(&self, name: &(String, String)) -> Option<Refused> {
        self.refused().iter().rev().find(|(known, _)| known == name).map(|(_, refused)| refused.clone())
    }
}

/// What is called so: the same for the same declaration, toolchain, code and files.
fn key_of(template: &Template, command: &str, image: &str, spec: &RunSpec) -> String {
    let mut hash = Sha256::new();
    // With lengths before them, so that no two programs share one by shifting bytes.
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    for part in
        [&format!("program {SCHEMA}"), &template.address(), command, image, &spec.file_name, &spec.code]
    {
        add(part.as_bytes());
    }
    for file in &spec.files {
        add(file.path.as_bytes());
        add(file.content.as_bytes());
    }
    hex(&hash.finalize())
}

/// What the sandbox's shell is told: messages then name files as the caller does.
fn script(command: &str, file_name: &str) -> String {
    // No compiler takes it for an option.
    let file = if file_name.starts_with('-') { format!("./{file_name}") } else { file_name.to_owned() };
    let file = file.replace('\'', "'\\''");
    format!("cd /tmp/{SOURCE} || exit\nFILE='{file}' OUT=/tmp/{MADE}\n{command}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_one_word_and_no_option() {
        assert!(script("cc", "-o x.c").contains("FILE='./-o x.c' "));
        assert!(script("cc", "a'; touch b; '.c").contains(r"FILE='a'\''; touch b; '\''.c' "));
    }
}
