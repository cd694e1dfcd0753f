//! `fireclay template`: what an environment is when it is built, and that building it twice at once does no harm.

use fireclay_tests::run::command;
use fireclay_tests::{Ran, image, packages};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;

/// What is installed in a data directory.
fn digest(data: &Path) -> String {
    let shown = command(data).args(["template", "show", "--json", "python-data"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown["environment"]["digest"].as_str().unwrap().to_owned()
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, &std::fs::Metadata)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        visit(&path, &meta);
        if meta.is_dir() {
            walk(&path, visit);
        }
    }
}

#[test]
fn an_environment_has_no_privilege_no_link_out_and_all_of_it_compiled() {
    let (mut sources, mut compiled) = (0, 0);
    let rootfs = packages().join("environments").join(&digest(packages())["sha256:".len()..]).join("rootfs");
    walk(&rootfs, &mut |path, meta| {
        assert!(meta.is_dir() || meta.is_file(), "{}", path.display());
        assert_eq!(meta.mode() & 0o7222, 0, "{}", path.display());
        assert!(meta.is_dir() || meta.nlink() == 1, "{}", path.display());
        if path.extension().is_some_and(|end| end == "py") {
            sources += 1;
            let cache = path.parent().unwrap().join("__pycache__");
            let start = format!("{}.", path.file_stem().unwrap().to_string_lossy());
            let mut cached = cache.read_dir().into_iter().flatten();
            compiled += usize::from(
                cached.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(&start)),
            );
        }
    });
    // Templates of source files are no Python.
    assert!(sources > 1000 && compiled * 100 > sources * 99, "{compiled} of {sources}");
}

#[test]
fn two_builds_at_once_come_to_the_same_and_leave_nothing() {
    let shared = packages();
    let data = tempfile::tempdir_in(fireclay_tests::run::target()).unwrap();
    symlink(image().join("images"), data.path().join("images")).unwrap();
    if shared.join("tools").exists() {
        symlink(shared.join("tools"), data.path().join("tools")).unwrap();
    }
    let build = || {
        let mut build = command(data.path());
        build.args(["template", "build", "python-data"]);
        build.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let builds = [build(), build()];
    for ran in builds.map(|child| Ran::from(child.wait_with_output().unwrap())) {
        // The same as that of another day: nothing of the time or the machine is in it.
        assert_eq!(
            (ran.code, ran.stdout),
            (0, format!("python-data {}\n", digest(shared))),
            "{}",
            ran.stderr
        );
    }
    let removed =
        Ran::from(command(data.path()).args(["template", "remove", "python-data"]).output().unwrap());
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let left = std::fs::read_dir(data.path().join("environments")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "refs" || name == ".lock"), "{left:?}");
    let ran = Ran::from(
        command(data.path()).args(["run", "--template", "python-data", "-c", "1"]).output().unwrap(),
    );
    assert_eq!(
        (ran.code, ran.stderr.contains("fireclay template build python-data")),
        (2, true),
        "{}",
        ran.stderr
    );
}
