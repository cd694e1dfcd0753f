//! What the documents show is what happens: every console block of the README runs, every example runs, every link leads somewhere.

mod attach;
mod traces;

use fireclay_tests::run::{command, feed};
use fireclay_tests::{fireclay, image};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_readmes_console_blocks_print_what_they_show() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), scratch.path().join("examples")).unwrap();
    let mut commands = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for step in block.split("$ ").skip(1) {
            let (line, shown) = step.split_once('\n').unwrap();
            assert_eq!(output(line, scratch.path()), shown, "$ {line}");
            commands += 1;
        }
    }
    assert!(commands >= 8, "only {commands} commands were found");
}

/// What a shell prints for a line, both streams together, and the exit code if it is not 0. `fireclay` is the built one.
fn output(line: &str, directory: &Path) -> String {
    let binary = command(image()).get_program().to_string_lossy().into_owned();
    let shell = format!("fireclay() {{ '{binary}' --data '{}' \"$@\"; }}; {line}", image().display());
    let ran =
        feed(Command::new("bash").args(["-c", &format!("{{ {shell}\n}} 2>&1")]).current_dir(directory), b"");
    let code = if ran.code == 0 { String::new() } else { format!("[exit {}]\n", ran.code) };
    format!("{}{code}", ran.stdout)
}

#[test]
fn every_example_runs() {
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        // Those of a folder have a script of their own that runs them.
        if path.is_dir() || path.extension().is_some_and(|end| end == "csv") {
            continue;
        }
        let data = root().join("examples/sales.csv");
        let ran = fireclay(&["run", path.to_str().unwrap(), "--file", data.to_str().unwrap()], b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", path.display());
        assert!(!ran.stdout.is_empty(), "{} prints nothing", path.display());
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "guest/PROTOCOL.md",
    ];
    for document in documents {
        let path = root().join(document);
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let local = !target.starts_with("http") && !target.starts_with('#');
            let file = path.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(!local || file.exists(), "{document} links to {target}, which is not there");
        }
    }
}

#[test]
fn the_architecture_names_only_files_that_are_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("tests/") || word.starts_with("policy/"));
    for name in named {
        assert!(root().join(name).exists(), "{name}");
    }
}
