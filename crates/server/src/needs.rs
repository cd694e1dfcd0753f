//! Packages that a run or a session asks for: read from what it says, judged, and installed before it is queued.

use crate::problem::Problem;
use crate::service::Service;
use crate::sessions::{Bound, PLACE};
use model::{Fault, FaultCode, InputFile, Language, Rejection, RunSpec, TenantId};
use packages::agentrun::{Whitelist, not_installed};
use packages::interpreter::{Condition, wish};
use packages::magic::{Cell, Listed};
use packages::pyproject::{self, Project};
use packages::python::{self, Need};
use packages::refused::Refused;
use packages::requirement::{self, Requirement};
use packages::version::{Specifiers, Version};
use packages::{javascript, npm, package_json, requirements_txt, script};
use std::str::FromStr;
use worker::image::packages::PackageLayer;
use worker::installer::{Asked, Installer, Over, Wanted};

/// What a run needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its packages.
    requirements: Vec<Requirement>,
    /// Its packages of npm.
    node: Vec<npm::Requirement>,
    /// The versions of Python that will do, and where that is said.
    python: Vec<(&'static str, Specifiers)>,
    /// What it imports, if packages are found by that.
    imports: Vec<Need>,
    /// What it is a cell of a session with, if it has lines that install.
    cell: Option<Cell>,
    /// Whether only what is there will do.
    offline: bool,
}

/// What a run and its program say of the version of its Python. What cannot be read says nothing here: [`Needs::of`] refuses it.
pub fn conditions(spec: &RunSpec) -> Result<Vec<Condition>, Rejection> {
    let mut all = Vec::new();
    if spec.language == Language::Python {
        let block = script::parse(&spec.code).ok().flatten().and_then(|project| project.requires_python);
        all.extend(block.map(|wanted| (IN_CODE, wanted)));
        let file = spec.files.iter().find(|file| file.path == "pyproject.toml");
        let project = file.and_then(|file| pyproject::parse(&text_of(file).ok()?).ok()?.requires_python);
        all.extend(project.map(|wanted| (IN_PROJECT, wanted)));
    }
    // What is asked for by its name comes last: it is at fault where these contradict each other.
    all.extend(spec.python.as_deref().map(wish).transpose()?.map(|wanted| ("python", wanted)));
    Ok(all)
}

/// Where a program's block says which Python it needs.
const IN_CODE: &str = "requires-python in code";
/// Where a project's file does.
const IN_PROJECT: &str = "requires-python in pyproject.toml";

/// How a program names what lies in its workspace.
const IN_WORKSPACE: &str = "/workspace/";

impl Needs {
    /// What a session whose first language is this asks for; it has no program yet.
    pub fn of_list(packages: &[String], language: Language) -> Result<Self, Rejection> {
        let refused = |wrong: Refused| wrong.rejection("packages");
        Ok(match language {
            Language::Python => {
                Self { requirements: requirement::parse_list(packages).map_err(refused)?, ..Self::default() }
            }
            Language::JavaScript | Language::TypeScript => {
                Self { node: npm::parse_list(packages).map_err(refused)?, ..Self::default() }
            }
            _ if packages.is_empty() => Self::default(),
            _ => {
                let hint = "leave it out, or take the template python or node";
                return Err(Rejection::new("packages", format!("{language} has no packages"), hint));
            }
        })
    }

    /// What a run of a session asks for, and what the lines of its cell say that install; in their place is nothing yet.
    pub fn of_session(
        packages: &[String],
        auto: bool,
        (bound, spec): (&Bound, &mut RunSpec),
        minor: Option<u8>,
    ) -> Result<Self, Rejection> {
        let auto = auto || bound.auto_packages(spec.language);
        if spec.language != Language::Python {
            let is_nodes = matches!(spec.language, Language::JavaScript | Language::TypeScript);
            let field = match (packages.is_empty(), auto && is_nodes) {
                (false, _) => "packages",
                (true, true) => "auto_packages",
                (true, false) => {
                    let read = |code: &str| match spec.language {
                        Language::Bash => Cell::read_shell(code),
                        _ => Ok(None),
                    };
                    let mut cell = read(&spec.code).map_err(|wrong| wrong.rejection("code"))?;
                    cell.iter_mut().try_for_each(|cell| add_listed(cell, bound, spec))?;
                    return Ok(Self { cell, ..Self::default() });
                }
            };
            let hint = "leave it out; open the session with `packages`";
            return Err(Rejection::new(field, "only runs of Python bring packages into a session", hint));
        }
        let mut cell = Cell::read(&spec.code).map_err(|wrong| wrong.rejection("code"))?;
        if let Some(cell) = &mut cell {
            add_listed(cell, bound, spec)?;
            spec.code = cell.code("pass", "pass");
        }
        let mut needs = Self { cell, ..Self::of_list(packages, Language::Python)? };
        needs.add_python(auto, spec, minor)?;
        let meant =
            |need: &Need| !need.optional && need.requirement.is_some() && !bound.has_module(need.root());
        needs.imports.retain(meant);
        Ok(needs)
    }

    /// What a request says, and what the program of `spec` and the files beside it do.
    pub fn of(packages: &[String], auto: bool, spec: &RunSpec, minor: Option<u8>) -> Result<Self, Rejection> {
        let mut needs = Self::of_list(packages, spec.language)?;
        match spec.language {
            Language::Python => needs.add_python(auto, spec, minor)?,
            Language::JavaScript | Language::TypeScript => needs.add_node(auto, spec)?,
            // What else is beside it is its own affair.
            _ => {}
        }
        Ok(needs)
    }

    fn add_python(&mut self, auto: bool, spec: &RunSpec, minor: Option<u8>) -> Result<(), Rejection> {
        if let Some(project) = script::parse(&spec.code).map_err(|wrong| wrong.rejection("code"))? {
            self.add(IN_CODE, project);
        }
        for file in &spec.files {
            let refused = |wrong: Refused| wrong.rejection(&format!("files: {}", file.path));
            match file.path.as_str() {
                "requirements.txt" => self.requirements.extend(listed(&file.path, file.content.as_bytes())?),
                "pyproject.toml" => {
                    self.add(IN_PROJECT, pyproject::parse(&text_of(file)?).map_err(refused)?);
                }
                _ => {}
            }
        }
        if let (true, Some(minor)) = (auto, minor) {
            let files: Vec<&str> = spec.files.iter().map(|file| file.path.as_str()).collect();
            // A program that cannot be read runs without: it says for itself what is wrong.
            self.imports = python::needs(&spec.code, &files, minor).unwrap_or_default();
        }
        Ok(())
    }

    fn add_node(&mut self, auto: bool, spec: &RunSpec) -> Result<(), Rejection> {
        if let Some(file) = spec.files.iter().find(|file| file.path == "package.json") {
            let refused = |wrong: Refused| wrong.rejection("files: package.json");
            let declared = package_json::parse(&text_of(file)?).map_err(refused)?;
            // What the request says of a package goes before.
            self.node
                .retain(|said| said.range != "*" || !declared.iter().any(|other| other.name == said.name));
            let new = declared.into_iter().filter(|one| !self.node.iter().any(|said| said.name == one.name));
            let new: Vec<_> = new.collect();
            self.node.extend(new);
        }
        if auto {
            let types = spec.language == Language::TypeScript;
            // A program that cannot be read runs without: it says for itself what is wrong.
            let found = javascript::needs(&spec.code, types).unwrap_or_default();
            for found in found.into_iter().filter(|found| !found.optional) {
                let own = format!("node_modules/{}/", found.package);
                let known = self.node.iter().any(|said| said.name == found.package)
                    || spec.files.iter().any(|file| file.path.starts_with(&own));
                if !known {
                    self.node.push(npm::Requirement { name: found.package, range: "*".to_owned() });
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, place: &'static str, project: Project) {
        self.requirements.extend(project.dependencies);
        self.python.extend(project.requires_python.map(|wanted| (place, wanted)));
    }

    /// The same, of nothing but what is there.
    #[must_use]
    pub fn only_there(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Says whether the Python that was chosen will do: another node may have chosen it.
    fn check_python(&self, installer: &Installer, over: Over<'_>) -> Result<(), Rejection> {
        if self.python.is_empty() {
            return Ok(());
        }
        let Some(present) = installer.python_version(over) else { return Ok(()) };
        let version = Version::from_str(&present);
        let Ok(version) = version else { return Ok(()) };
        match self.python.iter().find(|(_, wanted)| !wanted.allow(&version)) {
            None => Ok(()),
            Some((place, wanted)) => {
                let message = format!("{wanted} is wanted, and Python {present} is here");
                Err(Rejection::new(
                    *place,
                    message,
                    format!("allow {present}, or use a service with another Python"),
                ))
            }
        }
    }
}

fn text_of(file: &InputFile) -> Result<String, Rejection> {
    text(&file.path, file.content.as_bytes())
}

fn text(path: &str, bytes: &[u8]) -> Result<String, Rejection> {
    if bytes.len() > packages::FILE_BYTES_MAX {
        let message = format!("{path} has more than {} bytes", packages::FILE_BYTES_MAX);
        return Err(Rejection::new("files", message, "name fewer packages"));
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Rejection::new("files", format!("{path} is not UTF-8"), "convert it"))
}

/// What a requirements file names.
fn listed(path: &str, bytes: &[u8]) -> Result<Vec<Requirement>, Rejection> {
    let entries = requirements_txt::parse(&text(path, bytes)?);
    let entries = entries.map_err(|wrong| wrong.rejection(&format!("files: {path}")))?;
    Ok(entries.into_iter().map(|entry| entry.requirement).collect())
}

/// Adds what the requirements files of a cell name: files that come with the run, or those that the session has as it is asked for.
fn add_listed(cell: &mut Cell, bound: &Bound, spec: &RunSpec) -> Result<(), Rejection> {
    for Listed { path, line } in std::mem::take(&mut cell.files) {
        let refused = |wrong: &str, hint: &str| {
            Rejection::new("code", format!("line {line}: pip install -r {path:?}: {wrong}"), hint)
        };
        let hint = "write it to the session's files before, or send it with the run's `files`";
        let inside = match (path.strip_prefix(IN_WORKSPACE), spec.cwd.as_str()) {
            (Some(below), _) => below.to_owned(),
            (None, "") => path.strip_prefix("./").unwrap_or(&path).to_owned(),
            (None, cwd) => format!("{cwd}/{}", path.strip_prefix("./").unwrap_or(&path)),
        };
        model::spec::check_path("code", &inside)
            .map_err(|wrong| Rejection { message: format!("line {line}: {}", wrong.message), ..wrong })?;
        let sent = spec.files.iter().find(|file| file.path == inside);
        let bytes = match sent {
            Some(file) => file.content.as_bytes().to_vec(),
            None => {
                let read = bound.read(&inside, packages::FILE_BYTES_MAX as u64 + 1);
                read.map_err(|wrong| refused(&wrong, hint))?
            }
        };
        cell.requirements.extend(listed(&inside, &bytes)?);
        if cell.requirements.len() > packages::ENTRIES_MAX {
            let wrong = format!("more than {} packages are named", packages::ENTRIES_MAX);
            return Err(refused(&wrong, "name fewer packages"));
        }
    }
    Ok(())
}

/// What AgentRun says in place of running a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The digest of an environment, if one is needed.
    Environment(Option<String>),
    /// These words.
    Words(String),
}

impl Service {
    /// Installs what a run needs; returns the environment's digest, if it needs one.
    pub async fn install(
        &self,
        tenant: &TenantId,
        over: Over<'_>,
        needs: &Needs,
    ) -> Result<Option<String>, Problem> {
        let installer = self.machine.installer();
        needs.check_python(installer, over)?;
        let found =
            needs.imports.iter().filter(|need| !need.optional).filter_map(|need| need.requirement.clone());
        let mut requirements = needs.requirements.clone();
        for found in found {
            // What is said for itself may name a version.
            if !requirements.iter().any(|said| said.name == found.name) {
                requirements.push(found);
            }
        }
        if !needs.node.is_empty() {
            let wanted = Wanted::Node(needs.node.clone());
            let (tenant, offline) = (tenant.as_str(), needs.offline);
            let asked = Asked { tenant, over, wanted: &wanted, any: false, offline };
            let layer = installer.install(&asked).await?;
            return Ok(Some(layer.hex));
        }
        self.install_all(tenant, over, requirements, (false, needs.offline)).await
    }

    async fn install_all(
        &self,
        tenant: &TenantId,
        over: Over<'_>,
        requirements: Vec<Requirement>,
        how: (bool, bool),
    ) -> Result<Option<String>, Problem> {
        Ok(self.layer_of(tenant, over, requirements, how).await?.map(|layer| layer.hex))
    }

    /// Installs what a cell of a session asks for, puts it where the session's Python finds it, and has the cell tell it so. The
    /// session's sandbox has the environment that it was opened with.
    pub async fn install_in(
        &self,
        (tenant, bound): (&TenantId, &Bound),
        spec: &mut RunSpec,
        needs: Needs,
    ) -> Result<Option<String>, Problem> {
        let offline = needs.offline;
        needs.check_python(self.machine.installer(), Over::from(&*spec))?;
        let found = needs.imports.iter().filter_map(|need| need.requirement.clone());
        let mut beside = needs.requirements;
        for found in found {
            if !beside.iter().any(|said: &Requirement| said.name == found.name) {
                beside.push(found);
            }
        }
        if !beside.is_empty() {
            // The interpreter looks for itself whether something was put there.
            self.lay((tenant, bound), Over::from(&*spec), (beside, offline)).await?;
        }
        if let Some(cell) = needs.cell {
            let asked = (cell.requirements.clone(), offline);
            let installed = self.lay((tenant, bound), Over::from(&*spec), asked).await?;
            spec.code = match spec.language {
                Language::Bash => cell.code(&in_shell(installed.as_deref()), "true"),
                _ => cell.code(&in_python(installed.as_deref()), "pass"),
            };
        }
        if spec.language == Language::Python && !bound.keeps_state() && bound.has_laid() {
            spec.env.entry("PYTHONPATH".to_owned()).or_insert_with(|| format!("/tmp/{PLACE}"));
        }
        Ok(None)
    }

    /// Returns names and versions of what was put there; nothing if it is there already.
    async fn lay(
        &self,
        (tenant, bound): (&TenantId, &Bound),
        over: Over<'_>,
        (requirements, offline): (Vec<Requirement>, bool),
    ) -> Result<Option<String>, Problem> {
        // Beside what it was opened with, so that both are of one resolution.
        let opened =
            requirement::parse_list(bound.packages()).map_err(|wrong| wrong.rejection("packages"))?;
        let asked: Vec<Requirement> = opened.into_iter().chain(requirements).collect();
        let Some(layer) = self.layer_of(tenant, over, asked, (false, offline)).await? else {
            return Ok(None);
        };
        let named = layer.manifest.packages.join(", ");
        bound.lay(layer).await?;
        Ok(Some(named))
    }

    async fn layer_of(
        &self,
        tenant: &TenantId,
        over: Over<'_>,
        mut requirements: Vec<Requirement>,
        (any, offline): (bool, bool),
    ) -> Result<Option<PackageLayer>, Problem> {
        let installer = self.machine.installer();
        let wanted = Wanted::Python(requirements.clone());
        let tenant = tenant.as_str();
        installer.judge(&Asked { tenant, over, wanted: &wanted, any, offline })?;
        let present = installer.present(over)?;
        let is_there = |wanted: &Requirement| {
            let has = present.iter().find(|(name, _)| *name == wanted.name);
            has.is_some_and(|(_, version)| wanted.extras.is_empty() && wanted.specifiers.allow(version))
        };
        requirements.retain(|wanted| !is_there(wanted));
        if requirements.is_empty() {
            return Ok(None);
        }
        let wanted = Wanted::Python(requirements);
        let asked = Asked { tenant, over, wanted: &wanted, any, offline };
        let layer = installer.install(&asked).await?;
        Ok(Some(layer))
    }

    /// Chooses the Python of a run by all that it says, and has its image; `None` is the machine's usual one.
    pub async fn have_python(&self, spec: &RunSpec) -> Result<Option<String>, Problem> {
        Ok(self.machine.have_python(&spec.template, conditions(spec)?).await?)
    }

    /// As AgentRun does it: what is cached there, and everything that is imported, if its list has it, one failure told by its module's name.
    pub async fn install_as_agentrun(
        &self,
        tenant: &TenantId,
        over: Over<'_>,
        code: &str,
    ) -> Result<Answered, Problem> {
        let settings = &self.settings.agentrun;
        let whitelist = Whitelist::new(settings.whitelist.clone());
        let Some(minor) = self.machine.installer().python_minor(over) else {
            return Err(Fault::new(FaultCode::Internal, "the image has no Python").into());
        };
        let needs = python::needs(code, &[], minor).unwrap_or_default();
        if let Some(words) = whitelist.refusal(&needs) {
            return Ok(Answered::Words(words));
        }
        if let Some(need) = needs.iter().find(|need| need.requirement.is_none()) {
            return Ok(Answered::Words(not_installed(need.root())));
        }
        // A service with a list that cannot be read does not start.
        let mut all = settings.cached().unwrap_or_default();
        for found in needs.iter().filter_map(|need| need.requirement.clone()) {
            if !all.iter().any(|cached| cached.name == found.name) {
                all.push(found);
            }
        }
        let whole = self.install_all(tenant, over, all, (true, false)).await;
        let Err(problem) = whole else { return whole.map(Answered::Environment) };
        if problem.status() != axum::http::StatusCode::UNPROCESSABLE_ENTITY {
            return Err(problem);
        }
        // Which it is that cannot be had is known when it is alone.
        for need in &needs {
            let Some(requirement) = need.requirement.clone() else { continue };
            if self.install_all(tenant, over, vec![requirement], (true, false)).await.is_err() {
                return Ok(Answered::Words(not_installed(need.root())));
            }
        }
        Err(problem)
    }
}

/// What a line that installs says, if there was anything to install.
const NOTHING: &str = "Nothing to install: it is there already";

/// What stands in place of a cell's line that installed this. Names and versions have no character that would end the text.
fn in_python(installed: Option<&str>) -> String {
    let Some(named) = installed else { return format!("print('{NOTHING}')") };
    format!(
        "__import__('site').addsitedir('/tmp/{PLACE}'); __import__('importlib').invalidate_caches(); print('Installed {named}')"
    )
}

/// The same in a shell: for the Pythons that it starts.
fn in_shell(installed: Option<&str>) -> String {
    let Some(named) = installed else { return format!("echo '{NOTHING}'") };
    format!("export PYTHONPATH=\"/tmp/{PLACE}${{PYTHONPATH:+:$PYTHONPATH}}\"; echo 'Installed {named}'")
}
