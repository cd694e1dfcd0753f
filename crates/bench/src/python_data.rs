//! The template `python-data`, if the service has it, and a bare interpreter with the same packages to compare it with.

use crate::Bench;
use crate::interpreters::{PYTHON, Spawn};
use crate::service::Service;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What a program does that uses pandas.
const CODE: &str = "import pandas; print(int(pandas.Series([1]).sum()))";
/// What the bare interpreter does: it only imports.
const BARE: &str = "import numpy, pandas; print(1)";
/// How a bare interpreter comes to have them.
const INSTALL: &str = "needs a Python with numpy and pandas: python3 -m venv DATA/rivals && DATA/rivals/bin/pip install numpy pandas";

/// A request, and what it is compared with.
pub struct PythonData {
    /// Uses pandas and prints 1.
    pub body: Value,
    /// Imports it and prints 1.
    pub bare: Spawn,
}

impl PythonData {
    /// Looks for both; the inner error says what is missing.
    pub fn find(bench: &Bench, service: &Service) -> anyhow::Result<Result<Self, String>> {
        let body = json!({"language": "python", "template": "python-data", "code": CODE});
        let text = body.to_string();
        let mut client = service.connect()?;
        let answer = client.post("/v1/runs", &text)?;
        let said: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let word = |name: &str| said[name].as_str().unwrap_or_default().trim();
        if answer.status != 200 || word("stdout") != "1" {
            let why = [word("detail"), word("stderr")].into_iter().find(|said| !said.is_empty());
            let why = why.and_then(|said| said.lines().last()).unwrap_or("it does not run");
            return Ok(Err(format!("this service has no template python-data: {why}")));
        }
        let bare = pythons(bench)?.into_iter().map(|python| Spawn {
            words: vec![python.into(), "-c".into(), BARE.into()],
            path: bench.options.path.clone(),
        });
        let bare = bare.into_iter().find(|bare| bare.time().is_ok());
        Ok(bare.map_or_else(|| Err(INSTALL.to_owned()), |bare| Ok(Self { body, bare })))
    }
}

/// Interpreters that may have the packages.
fn pythons(bench: &Bench) -> anyhow::Result<Vec<PathBuf>> {
    let installed = bench.rivals().join("bin/python");
    let known = installed.exists().then_some(installed);
    Ok(known.into_iter().chain(PYTHON.interpreter(bench)?).collect())
}
