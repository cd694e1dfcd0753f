//! Finds uv, which installs packages: on the search path, else brought from PyPI into the data directory, once.

use std::env::split_paths;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::vault::{make_directory, remove_tree, write_file};
use super::{ImageError, at, listing};

/// The version that is brought, with its hashes. Made by scripts/lock-templates.
const LOCK: &str = include_str!("../../../../policy/templates/uv.lock");
/// Most of what a program said that is told.
const SAID_BYTES_MAX: usize = 1000;

/// Returns the program. Without one on `search`, it is installed below `tools` with `python`, the caller being the only one who does.
pub(super) fn find(search: &OsStr, tools: &Path, python: &Path) -> Result<PathBuf, ImageError> {
    let mut found = split_paths(search).filter(|path| path.is_absolute()).map(|path| path.join("uv"));
    let usable = |path: &PathBuf| {
        // A shim of a version manager is there and does not work.
        let asked = Command::new(path).arg("--version").stdin(Stdio::null()).output();
        path.is_file() && asked.is_ok_and(|output| output.status.success())
    };
    match found.find(usable) {
        Some(uv) => Ok(uv),
        None => bring(tools, python),
    }
}

/// Installs the locked version unless it is there. An environment of pip's own is made for it and thrown away: nothing of the
/// machine's Python is changed.
fn bring(tools: &Path, python: &Path) -> Result<PathBuf, ImageError> {
    let digest = listing::digest(LOCK);
    let uv = tools.join(format!("uv-{}", &digest["sha256:".len()..][..12]));
    if uv.is_file() {
        return Ok(uv);
    }
    let building = tools.join(".building-uv");
    if building.exists() {
        remove_tree(&building)?;
    }
    make_directory(&building)?;
    let (venv, lock) = (building.join("venv"), building.join("uv.lock"));
    write_file(&lock, LOCK.as_bytes())?;
    run(Command::new(python).args(["-I", "-m", "venv"]).arg(&venv)).map_err(|error| match error {
        ImageError::Tool { program, said } => {
            let said = format!(
                "{said}; install uv (https://docs.astral.sh/uv), or this Python's modules venv and ensurepip"
            );
            ImageError::Tool { program, said }
        }
        other => other,
    })?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
    ]);
    run(pip.args(["--only-binary", ":all:", "--requirement"]).arg(&lock))?;
    let installed = venv.join("bin/uv");
    fs::rename(&installed, &uv).map_err(at("rename", &installed))?;
    remove_tree(&building)?;
    Ok(uv)
}

/// Runs a program to its end and returns what it printed; one that fails is told with the end of what it said.
pub(super) fn run(command: &mut Command) -> Result<String, ImageError> {
    let program = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).output().map_err(at("start", &program))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stderr, output.stdout].concat();
    let end = &said[said.len().saturating_sub(SAID_BYTES_MAX)..];
    let said = format!("{}: {}", output.status, String::from_utf8_lossy(end).trim());
    Err(ImageError::Tool { program, said })
}
