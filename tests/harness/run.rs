//! Runs the binary or the driver, as a user's shell would.

use crate::Order;
use crate::census::Report;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The data directory that all tests share, with the default image in it: built once, kept below `target/` between runs.
pub fn image() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = target().join("test-data");
        let built = command(&data).args(["run", "-c", "pass"]).output().expect("the binary starts");
        assert!(
            built.status.success(),
            "building the image failed: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        data
    })
}

/// The same with the packages of the template `python-data` installed, from PyPI the first time.
pub fn packages() -> &'static Path {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let data = image();
    INSTALLED.get_or_init(|| {
        let listed = command(data).args(["template", "show", "--json", "python-data"]).output();
        let shown: serde_json::Value = serde_json::from_slice(&listed.expect("the binary starts").stdout)
            .expect("a template is shown as JSON");
        if shown["environment"].is_null() {
            let ran: Ran =
                command(data).args(["template", "build", "python-data"]).output().expect("it starts").into();
            assert_eq!(ran.code, 0, "installing packages failed: {}", ran.stderr);
        }
    });
    data
}

/// `fireclay` with these arguments and this standard input, using the shared image.
pub fn fireclay(args: &[&str], stdin: &[u8]) -> Ran {
    feed(command(image()).args(args), stdin)
}

/// One run by the driver, with all that it said.
pub fn drive_raw(order: &Order) -> Ran {
    feed(&mut driver(), &serde_json::to_vec(order).expect("an order is plain data"))
}

/// One run by the driver.
pub fn drive(order: &Order) -> model::RunResult {
    let json = serde_json::to_vec(order).expect("an order is plain data");
    let ran = feed(&mut driver(), &json);
    result_in(&ran)
}

/// The driver, to be given an [`Order`].
pub fn driver() -> Command {
    let mut command = Command::new(executable("driver"));
    command.arg(image());
    command
}

/// The result that the driver printed.
pub fn result_in(ran: &Ran) -> model::RunResult {
    let last = ran.stdout.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A command that runs the binary with this data directory and none of our environment.
pub fn command(data: &Path) -> Command {
    command_of(&executable("fireclay"), data)
}

/// The same for a copy of the binary.
pub(crate) fn command_of(program: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).arg("--data").arg(data);
    command
}

/// Runs a command with this standard input.
pub fn feed(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    let bytes = stdin.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    // A program that did not read its input to the end is no failure of the test's.
    drop(writer.join().expect("the writer does not panic"));
    output.into()
}

/// Runs a Python program that reads what `write` writes while it runs; its standard input is closed after that only if it is to
/// `end`. `write` is told the driver's process id. Answers the result, the driver's report and what `write` said.
pub fn interactive<T>(
    order: Order,
    end: bool,
    write: impl FnOnce(u32, &mut ChildStdin) -> T,
) -> (model::RunResult, Report, T) {
    let mut order = Order { interactive: true, ..order };
    // A word before anything is written: the driver must have read its order, and no more, by then.
    order.request.code.insert_str(0, "import os; os.write(1, b'ready\\n')\n");
    let mut child = driver()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the driver starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    serde_json::to_writer(&mut stdin, &order).expect("the driver reads its order");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = String::new();
    said.read_line(&mut lines).expect("the pipe is read");
    assert_eq!(lines, "ready\n");
    let written = write(child.id(), &mut stdin);
    let kept = (!end).then_some(stdin);
    said.read_to_string(&mut lines).expect("the pipe is read");
    drop(kept);
    let output = child.wait_with_output().expect("it ends");
    let report = lines.lines().next_back().unwrap_or_default();
    (result_in(&output.into()), serde_json::from_str(report).expect("the driver reports"), written)
}

/// Says something that must be seen although the test passes, past the test runner's capture.
pub fn loudly(text: &str) {
    let line = format!("\n*** {text}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}

/// The directory that cargo builds into, found from the test's own program: `target/TRIPLE/release/deps/all-…`.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("the program has a path");
    let release = own.ancestors().find(|path| path.ends_with("release") || path.ends_with("debug"));
    release.expect("cargo puts programs below the profile's directory").to_owned()
}

/// A program of the workspace, built beside the test.
pub(crate) fn executable(name: &str) -> PathBuf {
    let path = target().join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --release --workspace --features fireclay/full` first",
        path.display()
    );
    path
}
