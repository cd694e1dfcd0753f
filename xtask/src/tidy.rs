//! Checks what no compiler does. Each check returns what it found; one line each, with the file and the rule.

use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Edges between crates: they point down the way of a run, and a new one needs a page in `docs/design/`.
const EDGES: [(&str, &[&str]); 20] = [
    ("model", &[]),
    ("sys", &[]),
    ("store", &["model"]),
    ("sandbox", &["model", "sys"]),
    ("worker", &["egress", "model", "packages", "sandbox", "sys", "vault"]),
    ("check", &["model"]),
    ("packages", &["check", "model"]),
    ("mcp", &["model"]),
    ("agent", &["model"]),
    ("docs", &["egress"]),
    ("egress", &[]),
    ("vault", &["egress"]),
    ("cluster", &["model"]),
    ("server", &["check", "cluster", "mcp", "model", "packages", "store", "sys", "worker"]),
    ("bench", &["model", "sandbox", "sys", "worker"]),
    (
        "fireclay",
        &[
            "agent", "bench", "check", "cluster", "docs", "mcp", "model", "packages", "sandbox", "server",
            "store", "sys", "vault", "worker",
        ],
    ),
    ("fireclay-tests", &["bench", "cluster", "model", "sandbox", "server", "sys", "worker"]),
    ("fireclay-fuzz", &["check", "docs", "egress", "model", "packages", "sandbox"]),
    ("xtask", &["bench", "model", "sandbox", "sys", "worker"]),
    ("zygote", &[]),
];

/// Names that say nothing (style.md §1).
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "types", "misc"];

/// Longest file, tests apart.
const LINES_MAX: usize = 500;

/// Runs every check and fails if one found something.
pub fn tidy() -> anyhow::Result<()> {
    let root = root()?;
    let files = tracked(&root)?;
    let mut found = edges(&root)?;
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        found.extend(names(file));
        found.extend(places(file, &text));
        if file.extension().is_some_and(|end| end == "rs") {
            found.extend(rust(file, &text));
        }
    }
    found.extend(unwired(&root, &files)?);
    found.iter().for_each(|line| eprintln!("{line}"));
    ensure!(found.is_empty(), "{} findings", found.len());
    println!("tidy: {} files, nothing found", files.len());
    Ok(())
}

/// The top of the repository.
pub fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?.to_owned())
}

fn tracked(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output =
        Command::new("git").current_dir(root).args(["ls-files", "-co", "--exclude-standard"]).output()?;
    ensure!(output.status.success(), "git ls-files failed");
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .map(PathBuf::from)
        .filter(|file| root.join(file).is_file())
        .collect())
}

fn edges(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name}: a crate that xtask/src/tidy.rs does not know"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|dependency| !dependency["path"].is_null()) {
            let to = dependency["name"].as_str().unwrap_or_default();
            if !allowed.contains(&to) {
                found.push(format!("{name} -> {to}: an edge that is not allowed"));
            }
        }
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap_or_default())?;
        // The two crates that are written in `unsafe`, and say so.
        if !["sys", "zygote"].contains(&name) && !manifest.contains("[lints]\nworkspace = true") {
            found.push(format!(
                "{name}: does not take the workspace's lints, so `unsafe` would compile in it"
            ));
        }
    }
    Ok(found)
}

fn names(file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_str()?;
    // Compatibility tests are named after the module of the interpreter that they try.
    let named_after = file.starts_with("tests/compat");
    (!named_after && EMPTY_NAMES.contains(&stem))
        .then(|| format!("{}: a name that says nothing", file.display()))
}

/// Paths of one machine, in anything that is ours.
fn places(file: &Path, text: &str) -> Option<String> {
    let ours = !file.components().any(|part| part.as_os_str() == "vendor") && !file.ends_with("tidy.rs");
    let machine = ["/work/main", "/.pyenv/versions/", "/root/.cargo"];
    let found = machine.iter().find(|place| ours && text.contains(*place))?;
    Some(format!("{}: names a place of one machine, {found}", file.display()))
}

fn rust(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: &str| found.push(format!("{}: {what}", file.display()));
    if !text.starts_with("//!") {
        say("does not open with //! and what it answers");
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_test = file.components().any(|part| part.as_os_str() == "tests")
        || file.to_string_lossy().contains("tests.rs");
    if !is_test && code.lines().count() > LINES_MAX {
        say("is longer than 500 lines without its tests");
    }
    if text.contains(concat!("#[", "ignore")) {
        say("ignores a test");
    }
    let in_crate = file.starts_with("crates") && !file.ends_with("build.rs");
    let reads = ["std::env::var", "env::var(", "env::var_os(", "env::args"];
    if in_crate
        && !file.ends_with("cli/src/env.rs")
        && !is_test
        && reads.iter().any(|call| code.contains(call))
    {
        say("reads the environment, which only crates/cli/src/env.rs may");
    }
    if in_crate && !file.starts_with("crates/cli") && code.contains("process::exit(") {
        say("exits, which only the command line may");
    }
    found
}

/// Test files that no module names: they would never run.
fn unwired(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let tests: Vec<&PathBuf> = files
        .iter()
        .filter(|file| file.starts_with("tests") && file.extension().is_some_and(|end| end == "rs"))
        .collect();
    let mut wired: BTreeSet<PathBuf> =
        ["tests/all.rs", "tests/harness/lib.rs", "tests/harness/driver.rs"].map(PathBuf::from).into();
    for file in &tests {
        let text = fs::read_to_string(root.join(file))?;
        let directory = file.parent().unwrap_or(Path::new(""));
        let own = matches!(file.file_stem().and_then(|stem| stem.to_str()), Some("all" | "mod" | "lib"));
        let below =
            if own { directory.to_owned() } else { directory.join(file.file_stem().unwrap_or_default()) };
        let declared = text.lines().filter_map(|line| {
            line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
        });
        for name in declared {
            wired.insert(below.join(format!("{name}.rs")));
            wired.insert(below.join(name).join("mod.rs"));
        }
    }
    let lost = tests.iter().filter(|file| !wired.contains(**file));
    Ok(lost.map(|file| format!("{}: no module names it, so it never runs", file.display())).collect())
}
