//! Arguments of commands that bring packages.

use clap::{Args, ValueHint};
use model::Rejection;
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
        let packages = self.packages.all()?;
        if !packages.is_empty() {
            fields.insert("packages".to_owned(), json!(packages));
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
    /// All of them, as a request says it.
    pub fn all(&self) -> anyhow::Result<Vec<String>> {
        let mut all = self.packages.clone();
        if let Some(path) = &self.requirements {
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
