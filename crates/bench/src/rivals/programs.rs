//! Rivals that are programs: each starts an interpreter of its own for a run, as `fireclay run` does.

use super::Contender;
use crate::Bench;
use crate::interpreters::Spawn;
use anyhow::Context;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use worker::image::{DEFAULT_NAME, ImageStore};

/// Every one of them, with what it would be installed by.
pub fn all(bench: &Bench, bare: &Spawn) -> anyhow::Result<Vec<Contender>> {
    let mut all = vec![
        contender(
            "bubblewrap",
            "no limits, no system-call filter",
            "apt install bubblewrap",
            bubblewrap(bench, bare),
        ),
        contender("firejail", "no limits", "apt install firejail", firejail(bench, bare)),
    ];
    let root = Root::of(bench)?;
    all.push(contender(
        "runc",
        "its usual specification, no limits",
        "apt install runc",
        runc(bench, &root)?,
    ));
    all.push(contender(
        "podman run",
        "its usual limits and filters",
        "apt install podman",
        podman(bench, &root),
    ));
    Ok(all)
}

fn contender(name: &'static str, note: &str, install: &str, spawn: Option<Spawn>) -> Contender {
    match spawn {
        Some(spawn) => Contender::ready(name, note, Box::new(move || spawn.time())),
        None => Contender::missing(name, install),
    }
}

/// The bare command in bubblewrap with every namespace and the host's files, read-only; `None` if it is not on PATH.
pub fn bubblewrap(bench: &Bench, bare: &Spawn) -> Option<Spawn> {
    let words = "--unshare-all --die-with-parent --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp";
    behind(bench, "bwrap", words, bare)
}

/// The bare command without network and with a private home.
fn firejail(bench: &Bench, bare: &Spawn) -> Option<Spawn> {
    behind(bench, "firejail", "--quiet --noprofile --net=none --seccomp --caps.drop=all --private-tmp", bare)
}

fn behind(bench: &Bench, program: &str, words: &str, bare: &Spawn) -> Option<Spawn> {
    let program = bench.find(program)?;
    let words: Vec<&OsStr> =
        std::iter::once(program.as_os_str()).chain(words.split(' ').map(OsStr::new)).collect();
    Some(bare.behind(&words))
}

/// The root filesystem of our default image, so that container runtimes need none from a registry.
struct Root {
    path: PathBuf,
    python: String,
}

impl Root {
    fn of(bench: &Bench) -> anyhow::Result<Self> {
        let image = ImageStore::open(&bench.options.data).find(DEFAULT_NAME)?.context("the default image")?;
        let image = worker::run::root_of(&image);
        Ok(Self { path: image.rootfs, python: image.python.context("a Python in the default image")? })
    }
}

/// A bundle of the specification that `runc spec` writes, with our root, program and no terminal.
fn runc(bench: &Bench, root: &Root) -> anyhow::Result<Option<Spawn>> {
    let Some(program) = bench.find("runc") else { return Ok(None) };
    let bundle = bench.scratch.path().join("runc");
    std::fs::create_dir_all(&bundle)?;
    let made = Command::new(&program).arg("spec").current_dir(&bundle).status().context("start runc")?;
    if made.success() {
        specify(&bundle.join("config.json"), root)?;
    }
    // A bundle without a specification fails when it is tried, and says so.
    let name = format!("fireclay-bench-{}", std::process::id());
    let words = [program.as_os_str(), "run".as_ref(), "--bundle".as_ref(), bundle.as_os_str(), name.as_ref()];
    let words = words.map(OsStr::to_owned).to_vec();
    Ok(Some(Spawn { words, path: bench.options.path.clone() }))
}

fn specify(path: &Path, root: &Root) -> anyhow::Result<()> {
    let mut specification: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    specification["root"] = json!({"path": root.path, "readonly": true});
    specification["process"]["terminal"] = json!(false);
    specification["process"]["args"] = json!([root.python, "-c", "print(1)"]);
    Ok(std::fs::write(path, specification.to_string())?)
}

/// A container of our root with a layer to write to. Its own limits of open files may be above what we may give.
fn podman(bench: &Bench, root: &Root) -> Option<Spawn> {
    let program = bench.find("podman")?;
    let words = "run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --rootfs";
    let mut all = vec![program.into_os_string()];
    all.extend(words.split(' ').map(Into::into));
    let mut layered = root.path.clone().into_os_string();
    layered.push(":O");
    all.extend([layered, root.python.clone().into(), "-c".into(), "print(1)".into()]);
    Some(Spawn { words: all, path: bench.options.path.clone() })
}
