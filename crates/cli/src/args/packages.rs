//! Arguments of commands that bring packages.

use clap::{Args, ValueHint};
use model::{Language, Rejection};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Which packages code has.
#[derive(Debug, Clone, Default, Args)]
pub struct PackageArguments {
    /// A package that it has, such as 'pandas>=2'; may be repeated
    #[arg(long = "package", value_name = "SPEC")]
    pub packages: Vec<String>,
    /// A file with packages, one a line, as pip takes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub requirements: Option<PathBuf>,
    /// Use only packages that are installed already
    #[arg(long)]
    pub offline: bool,
    /// The version of Python that code has, as 3.13 or 3.13.1
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,
}

/// What items of a batch, or runs for a model, have that say nothing of it themselves.
#[derive(Debug, Clone, Default, Args)]
pub struct UsualArguments {
    /// Packages.
    #[command(flatten)]
    pub packages: PackageArguments,
    /// Install what code imports
    #[arg(long)]
    pub auto_packages: bool,
    /// Hosts and secrets.
    #[command(flatten)]
    pub egress: super::EgressArguments,
    /// How code is read before it runs.
    #[command(flatten)]
    pub reading: super::ReadingArguments,
}

impl UsualArguments {
    /// The fields of a request that are said by these.
    pub fn fields(&self) -> anyhow::Result<Map<String, Value>> {
        let mut fields = Map::new();
        let packages = &self.packages.packages;
        if !packages.is_empty() {
            fields.insert("packages".to_owned(), json!(packages));
        }
        if self.packages.requirements.is_some() {
            fields.insert(model::request::PACKAGES_OF_PYTHON.to_owned(), json!(self.packages.all(None)?));
        }
        if self.auto_packages {
            fields.insert("auto_packages".to_owned(), json!(true));
        }
        if self.packages.offline {
            fields.insert("offline".to_owned(), json!(true));
        }
        if let Some(python) = &self.packages.python {
            fields.insert("python".to_owned(), json!(python));
        }
        if let Some(egress) = self.egress.of() {
            fields.insert("egress".to_owned(), json!(egress));
        }
        fields.extend(self.reading.fields());
        Ok(fields)
    }
}

impl PackageArguments {
    /// All of them, as a request for a program in this language says it, if that is known.
    pub fn all(&self, language: Option<Language>) -> anyhow::Result<Vec<String>> {
        let mut all = self.packages.clone();
        if let Some(path) = &self.requirements {
            if let Some(other) =
                language.filter(|language| !matches!(language, Language::Python | Language::Bash))
            {
                let message = format!("it names packages of Python, and the program is {other}");
                return Err(Rejection::new(
                    "--requirements",
                    message,
                    "use --package NAME, or --file package.json",
                )
                .into());
            }
            let text = std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                Rejection::new("--requirements", message, "name a file that exists and is readable")
            })?;
            let entries = packages::requirements_txt::parse(&text);
            let entries = entries.map_err(|wrong| wrong.rejection("--requirements"))?;
            all.extend(entries.iter().map(|entry| entry.requirement.to_string()));
        }
        Ok(all)
    }
}
