//! Everyday shell lines: output, errors and exit codes are the same inside and outside.

use super::sides::Sides;
use super::{assert_explained, differing, unexplained};

/// What the issue asks for.
const LINES_MIN: usize = 200;

#[test]
fn everyday_shell_lines_end_the_same() {
    let sides = Sides::new();
    sides.add("lines.sh", include_str!("shell/lines.sh"));
    sides.add("lines.py", include_str!("shell/lines.py")).add("commands", include_str!("shell.txt"));
    let outside = sides.outside("lines.sh", &[]);
    let inside = sides.inside("lines.sh", &[]);
    let absent: Vec<&str> = outside
        .0
        .iter()
        .filter(|(id, _)| id.as_str() != "nonexistent_command")
        .filter(|(id, _)| outside.of(id).iter().any(|outcome| outcome.contains("command not found")))
        .map(|(id, _)| id.as_str())
        .collect();
    assert!(
        absent.is_empty(),
        "tools are missing here: run scripts/test-dependencies\n{}",
        absent.join("\n")
    );
    assert!(outside.0.len() >= LINES_MIN, "only {} lines", outside.0.len());
    assert_explained("shell", &unexplained("shell", differing(&outside, &inside)), &outside, &inside);
}
