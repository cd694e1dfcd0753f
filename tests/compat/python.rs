//! CPython's own regression suite: every test ends inside the sandbox as it does outside.
//!
//! Always Debian's interpreter and Debian's copy of its tests, which fit each other on a developer's machine and on a fresh one
//! alike.

use super::sides::{PYTHON, Sides, source};
use super::{Outcomes, assert_explained, differing, unexplained};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the issue asks for.
const MODULES_MIN: usize = 60;

#[test]
fn the_regression_suite_of_cpython_ends_the_same() {
    let modules: Vec<&str> = include_str!("python/modules.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let (outside, inside) = both(&modules);
    let unfinished: Vec<&str> =
        modules.iter().copied().filter(|module| inside.of(module) != ["done"]).collect();
    println!(
        "{} modules; inside {} tests passed, outside {}; skipped or unfinished inside: {}",
        modules.len(),
        inside.count("ok"),
        outside.count("ok"),
        unfinished
            .iter()
            .map(|module| format!("{module} ({})", inside.tell(module)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let left = unexplained("python", differing(&outside, &inside));
    // Some tests depend on the load of the machine: a difference counts when it shows again.
    let again: Vec<String> = modules.iter().filter_map(|module| only(&left, module)).collect();
    if !again.is_empty() {
        let (outside, inside) = both(&again.iter().map(String::as_str).collect::<Vec<_>>());
        let left: BTreeSet<String> = left.into_iter().collect();
        let twice =
            unexplained("python", differing(&outside, &inside)).into_iter().filter(|id| left.contains(id));
        assert_explained("python", &twice.collect::<Vec<_>>(), &outside, &inside);
    }
    assert!(modules.len() - unfinished.len() >= MODULES_MIN, "too few modules ran to their end");
}

/// Runs the modules on both sides, at the same time: most of the tests wait most of their time.
fn both(modules: &[&str]) -> (Outcomes, Outcomes) {
    let sides = Sides::new();
    sides.add("start.sh", include_str!("python/start.sh")).add("suite.py", include_str!("python/suite.py"));
    pack_tests(&sides.input("tests.tar.gz"));
    let args: Vec<&str> = ["tests.tar.gz", "suite.py"].iter().chain(modules).copied().collect();
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| sides.inside("start.sh", &args));
        (sides.outside("start.sh", &args), inside.join().expect("its assertions hold"))
    })
}

/// Packs Debian's tests of the interpreter, which are partly in the packages that they test.
fn pack_tests(archive: &Path) {
    let python = std::fs::canonicalize(PYTHON).expect("Debian has a python3");
    let library = Path::new("/usr/lib").join(python.file_name().expect("it is a program"));
    let packages: Vec<PathBuf> = ["test", "ctypes/test", "unittest/test"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|at| library.join(at).is_dir())
        .collect();
    let complete = library.join("test/test_os.py").is_file() || library.join("test/test_os").is_dir();
    assert!(
        complete,
        "{} has no tests: run {}",
        library.display(),
        source("../../scripts/test-dependencies").display()
    );
    let mut tar = Command::new("tar");
    tar.args(["--exclude", "__pycache__", "-czf"]).arg(archive).arg("-C").arg(&library).args(packages);
    assert!(tar.status().expect("there is tar").success());
}

/// The module with a pattern for each of its tests among `ids`, or all of the module if one is not a test's; `None` without any.
fn only(ids: &[String], module: &str) -> Option<String> {
    let own: Vec<&String> = ids.iter().filter(|id| is_of(id, module)).collect();
    let tests = own.iter().all(|id| id.contains('.') && !id.contains([' ', ',', ':']));
    let patterns: Vec<String> = own.iter().map(|id| format!("*{id}")).collect();
    let name = module.split(':').next().unwrap_or(module);
    (!own.is_empty())
        .then(|| if tests { format!("{name}:{}", patterns.join(",")) } else { module.to_owned() })
}

/// Says whether a test is of a module: by its name, or because the module's tests are elsewhere.
fn is_of(id: &str, module: &str) -> bool {
    let name = module.split(':').next().unwrap_or(module);
    let elsewhere =
        name.strip_prefix("test_").is_some_and(|package| id.starts_with(&format!("{package}.test.")));
    id == module || id.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) || elsewhere
}
