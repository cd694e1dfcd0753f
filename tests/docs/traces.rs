//! The program of docs/traces.md, run.

use super::root;
use fireclay_tests::Server;
use std::process::Command;

#[test]
fn the_program_of_the_page_shows_a_trace() {
    let page = std::fs::read_to_string(root().join("docs/traces.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let server = Server::start(&[]);
    let ran =
        Command::new("python3").args(["-c", program]).env("FIRECLAY_URL", server.url("")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(shown.starts_with("python run completed 42\npython run "), "{shown}");
    for phase in ["admission", "check", "queue", "lease", "fork", "execution", "artifacts"] {
        assert!(shown.contains(&format!("\n  {phase} ")), "{phase}: {shown}");
    }
}
