//! Node: what scripts print, and how they end, is the same inside and outside, with plain `node` and through the engine's runner.

use super::sides::{IMAGE, Sides, built, source};
use super::{Item, Outcomes, assert_explained, differing, unexplained};
use fireclay_tests::run;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What each script reads.
const STDIN: &[u8] = b"one\ntwo\n";

#[test]
fn node_scripts_end_the_same() {
    let sides = sides();
    let outside = sides.outside("lines.sh", &[]);
    let inside = sides.inside("lines.sh", &[]);
    assert_explained("node", &unexplained("node", differing(&outside, &inside)), &outside, &inside);
}

/// As a user runs them: `fireclay run FILE`, with the default limits and a runner around the code.
#[test]
fn node_scripts_end_the_same_through_the_runner() {
    let outside = sides().outside("lines.sh", &[]);
    let mut inside = Outcomes::default();
    for (name, path) in scripts() {
        let ran = run::feed(
            run::command(built()).args(["run", "--local", "--image", IMAGE, "--stdin", "-"]).arg(path),
            STDIN,
        );
        let outcome = format!("exit {}\nstdout:\n{}stderr:\n{}", ran.code, ran.stdout, ran.stderr);
        let id = line_of(&name);
        inside.0.insert(id.clone(), vec![Item { id, outcome, detail: String::new() }]);
    }
    let left = unexplained("javascript", differing(&outside, &inside));
    assert_explained("javascript", &left, &outside, &inside);
}

fn sides() -> Sides {
    let sides = Sides::new();
    let mut commands = String::new();
    for (name, path) in scripts() {
        sides.add(&name, std::fs::read(path).expect("it is ours"));
        writeln!(commands, "{}", line_of(&name)).expect("a String takes all");
    }
    sides.add("commands", commands);
    sides.add("lines.sh", include_str!("shell/lines.sh")).add("lines.py", include_str!("shell/lines.py"));
    sides
}

fn line_of(name: &str) -> String {
    format!("cp \"$INPUT/{name}\" . && printf 'one\\ntwo\\n' | node {name}")
}

fn scripts() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(source("node")).expect("it is ours");
    let mut scripts: Vec<_> = entries
        .map(|entry| entry.expect("it is ours"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn typescript_prints_what_its_javascript_would() {
    let code = "interface Point { x: number }\nenum Colour { Red = 1 }\n\
                class Box { constructor(private held: string) {} get(): string { return this.held!; } }\n\
                const twice = <T extends Point>(point: T): number => (point.x as number) * 2;\n\
                console.log(twice({ x: 21 } satisfies Point), Colour.Red, new Box('held').get());\n";
    let ran = run::feed(
        run::command(built()).args(["run", "--local", "--image", IMAGE, "-l", "typescript", "-"]),
        code.as_bytes(),
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "42 1 held\n", ""));
}
