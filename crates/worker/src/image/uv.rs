//! Finds uv, which installs packages: on the search path, else brought from PyPI into the data directory, once.

use std::env::split_paths;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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

/// Where a sandbox that installs has the program, by [`layer`].
pub(super) const PLACE: &str = "/opt/uv/uv";

/// A layer of an image with nothing but the program, at [`PLACE`]; made once for each program, by the only caller.
pub(super) fn layer(uv: &Path, tools: &Path) -> Result<PathBuf, ImageError> {
    // A second name of a symbolic link would be a link.
    let uv = &fs::canonicalize(uv).map_err(at("find", uv))?;
    let meta = fs::metadata(uv).map_err(at("inspect", uv))?;
    let layer = tools.join(format!(".layer-{}-{}.{}", meta.len(), meta.mtime(), meta.mtime_nsec()));
    if layer.is_dir() {
        return Ok(layer);
    }
    let building = tools.join(".building-layer");
    if building.exists() {
        remove_tree(&building)?;
    }
    let program = building.join(PLACE.trim_start_matches('/'));
    make_directory(program.parent().unwrap_or(&building))?;
    // A second name where that can be, since bytes cost time and memory; on another file system, or of another's file, it cannot.
    let everybodys = meta.permissions().mode() & 0o555 == 0o555;
    if !everybodys || fs::hard_link(uv, &program).is_err() {
        fs::copy(uv, &program).map_err(at("copy", uv))?;
        fs::set_permissions(&program, Permissions::from_mode(0o555)).map_err(at("set mode of", &program))?;
    }
    fs::rename(&building, &layer).map_err(at("rename", &building))?;
    Ok(layer)
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
