//! The machine's health: what `fireclay doctor --json` says, asked once at a time and kept for a moment.
//!
//! A command and not a call: its acts fork children, which a process with threads must not.

use model::{Fault, FaultCode};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Mutex;

/// How long a report is told again.
const KEPT: Duration = Duration::from_secs(10);
/// How long an examination may take. It runs real code and may build an image.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest report.
const REPORT_BYTES_MAX: u64 = 1 << 20;

/// A command that prints a report as JSON.
#[derive(Debug, Clone)]
pub struct DoctorCommand {
    /// The program: this binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Asks for reports.
#[derive(Debug)]
pub struct Doctor {
    command: DoctorCommand,
    latest: Mutex<Option<(Instant, Value)>>,
}

impl Doctor {
    /// One that asks this command.
    pub fn new(command: DoctorCommand) -> Self {
        Self { command, latest: Mutex::default() }
    }

    /// The report: a fresh one, or that of some seconds ago. Callers that come while one is made wait for it.
    pub async fn report(&self) -> Result<Value, Fault> {
        let mut latest = self.latest.lock().await;
        if let Some((at, report)) = &*latest
            && at.elapsed() < KEPT
        {
            return Ok(report.clone());
        }
        let examined = tokio::time::timeout(PATIENCE, self.examine()).await;
        let report =
            examined
                .unwrap_or_else(|_| Err(format!("took longer than {} s", PATIENCE.as_secs())))
                .map_err(|wrong| Fault::new(FaultCode::Internal, format!("examine the machine: {wrong}")))?;
        *latest = Some((Instant::now(), report.clone()));
        Ok(report)
    }

    /// Whatever the verdict, and so the exit code: a report is a report.
    async fn examine(&self) -> Result<Value, String> {
        let mut child = Command::new(&self.command.program)
            .args(&self.command.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut text = Vec::new();
        let read = stdout.take(REPORT_BYTES_MAX).read_to_end(&mut text).await;
        read.map_err(|error| error.to_string())?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&text).map_err(|error| format!("{status}: {error}"))
    }
}
