//! Packages that a run or a session asks for: read from what it says, judged, and installed before it is queued.

use crate::problem::Problem;
use crate::service::Service;
use model::{Fault, FaultCode, InputFile, Language, Rejection, RunSpec, TenantId};
use packages::agentrun::{Whitelist, not_installed};
use packages::pyproject::{self, Project};
use packages::python::{self, Need};
use packages::refused::Refused;
use packages::requirement::{self, Requirement};
use packages::version::{Specifiers, Version};
use packages::{requirements_txt, script};
use std::str::FromStr;
use worker::installer::{Asked, Installer};
use worker::template::NotReady;

/// What a run needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its packages.
    requirements: Vec<Requirement>,
    /// The versions of Python that will do, and where that is said.
    python: Vec<(&'static str, Specifiers)>,
    /// What it imports, if packages are found by that.
    imports: Vec<Need>,
}

impl Needs {
    /// What a session asks for, which has no program yet.
    pub fn of_list(packages: &[String]) -> Result<Self, Rejection> {
        let requirements = requirement::parse_list(packages).map_err(|wrong| wrong.rejection("packages"))?;
        Ok(Self { requirements, ..Self::default() })
    }

    /// What a request says, and what the program of `spec` and the files beside it do.
    pub fn of(packages: &[String], auto: bool, spec: &RunSpec, minor: Option<u8>) -> Result<Self, Rejection> {
        let mut needs = Self::of_list(packages)?;
        if spec.language != Language::Python {
            if packages.is_empty() {
                return Ok(needs);
            }
            let message = format!("packages of {} are not installed", spec.language);
            return Err(Rejection::new("packages", message, "leave it out, or take python"));
        }
        if let Some(project) = script::parse(&spec.code).map_err(|wrong| wrong.rejection("code"))? {
            needs.add("requires-python in code", project);
        }
        for file in &spec.files {
            let refused = |wrong: Refused| wrong.rejection(&format!("files: {}", file.path));
            match file.path.as_str() {
                "requirements.txt" => {
                    let entries = requirements_txt::parse(&text_of(file)?).map_err(refused)?;
                    needs.requirements.extend(entries.into_iter().map(|entry| entry.requirement));
                }
                "pyproject.toml" => {
                    needs.add(
                        "requires-python in pyproject.toml",
                        pyproject::parse(&text_of(file)?).map_err(refused)?,
                    );
                }
                _ => {}
            }
        }
        if let (true, Some(minor)) = (auto, minor) {
            let files: Vec<&str> = spec.files.iter().map(|file| file.path.as_str()).collect();
            // A program that cannot be read runs without: it says for itself what is wrong.
            needs.imports = python::needs(&spec.code, &files, minor).unwrap_or_default();
        }
        Ok(needs)
    }

    fn add(&mut self, place: &'static str, project: Project) {
        self.requirements.extend(project.dependencies);
        self.python.extend(project.requires_python.map(|wanted| (place, wanted)));
    }

    /// Says whether the Python that is there will do.
    fn check_python(&self, installer: &Installer) -> Result<(), Rejection> {
        let Some(present) = installer.python_version() else { return Ok(()) };
        let version = Version::from_str(present);
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
    let bytes = file.content.as_bytes();
    if bytes.len() > packages::FILE_BYTES_MAX {
        let message = format!("{} has more than {} bytes", file.path, packages::FILE_BYTES_MAX);
        return Err(Rejection::new("files", message, "name fewer packages"));
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Rejection::new("files", format!("{} is not UTF-8", file.path), "convert it"))
}

/// What AgentRun says in place of running a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The digest of an environment, if one is needed.
    Environment(Option<String>),
    /// These words.
    Words(String),
}

/// What a caller is told of it.
pub fn problem_of(not: NotReady) -> Problem {
    match not {
        NotReady::Rejected(rejection) => Problem::from(rejection),
        NotReady::Fault(fault) => Problem::from(fault),
    }
}

impl Service {
    /// Installs what a run needs; returns the environment's digest, if it needs one.
    pub async fn install(
        &self,
        tenant: &TenantId,
        template: &str,
        needs: &Needs,
    ) -> Result<Option<String>, Problem> {
        let installer = self.machine.installer();
        needs.check_python(installer)?;
        let found =
            needs.imports.iter().filter(|need| !need.optional).filter_map(|need| need.requirement.clone());
        let mut requirements = needs.requirements.clone();
        for found in found {
            // What is said for itself may name a version.
            if !requirements.iter().any(|said| said.name == found.name) {
                requirements.push(found);
            }
        }
        self.install_all(tenant, template, requirements, false).await
    }

    async fn install_all(
        &self,
        tenant: &TenantId,
        template: &str,
        mut requirements: Vec<Requirement>,
        any: bool,
    ) -> Result<Option<String>, Problem> {
        let installer = self.machine.installer();
        let asked = Asked { tenant: tenant.as_str(), template, requirements: &requirements, any };
        installer.judge(&asked)?;
        let present = installer.present(template).map_err(problem_of)?;
        let is_there = |wanted: &Requirement| {
            let has = present.iter().find(|(name, _)| *name == wanted.name);
            has.is_some_and(|(_, version)| wanted.extras.is_empty() && wanted.specifiers.allow(version))
        };
        requirements.retain(|wanted| !is_there(wanted));
        if requirements.is_empty() {
            return Ok(None);
        }
        let asked = Asked { tenant: tenant.as_str(), template, requirements: &requirements, any };
        let layer = installer.install(&asked).await.map_err(problem_of)?;
        Ok(Some(layer.hex))
    }

    /// As AgentRun does it: everything that is imported, if its list has it, one failure told by its module's name.
    pub async fn install_as_agentrun(
        &self,
        tenant: &TenantId,
        template: &str,
        code: &str,
        whitelist: &Whitelist,
    ) -> Result<Answered, Problem> {
        let Some(minor) = self.machine.installer().python_minor() else {
            return Err(Fault::new(FaultCode::Internal, "the image has no Python").into());
        };
        let needs = python::needs(code, &[], minor).unwrap_or_default();
        if let Some(words) = whitelist.refusal(&needs) {
            return Ok(Answered::Words(words));
        }
        if let Some(need) = needs.iter().find(|need| need.requirement.is_none()) {
            return Ok(Answered::Words(not_installed(need.root())));
        }
        let all: Vec<Requirement> = needs.iter().filter_map(|need| need.requirement.clone()).collect();
        let whole = self.install_all(tenant, template, all, true).await;
        let Err(problem) = whole else { return whole.map(Answered::Environment) };
        if problem.status() != axum::http::StatusCode::UNPROCESSABLE_ENTITY {
            return Err(problem);
        }
        // Which it is that cannot be had is known when it is alone.
        for need in &needs {
            let Some(requirement) = need.requirement.clone() else { continue };
            if self.install_all(tenant, template, vec![requirement], true).await.is_err() {
                return Ok(Answered::Words(not_installed(need.root())));
            }
        }
        Err(problem)
    }
}
