//! A server that is a program of this machine: started with an environment of its own, and ended with all that it started.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::{Receiver, Sender};

/// How much is kept of what a program says on standard error, in bytes: the end of it.
const SAID_BYTES_MAX: usize = 2_000;
/// How long a program has to end after its input did.
const ENDING: Duration = Duration::from_secs(2);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// How a server is started. It has no `Debug`: keys may be in it.
#[derive(Clone)]
pub struct Command {
    /// What a shell reads (`sh -c`).
    pub line: String,
    /// All of its environment.
    pub variables: Vec<(String, String)>,
}

/// A running one. Dropping it ends it and what it started, as far as that is in its process group.
pub(super) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    pub fn start(command: &Command) -> io::Result<Self> {
        let mut child = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(&command.line)
            .env_clear()
            .envs(command.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at our terminal is for us; and all of the group ends at once.
            .process_group(0)
            .spawn()?;
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(mut errors) = child.stderr.take() {
            let kept = Arc::clone(&said);
            // Ends with the last process that has the pipe.
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(bytes @ 1..) = errors.read(&mut piece) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&piece[..bytes]);
                    let too_many = kept.len().saturating_sub(SAID_BYTES_MAX);
                    kept.drain(..too_many);
                }
            });
        }
        Ok(Self { child, said })
    }

    /// Its standard output and input, once. To be called in a runtime.
    pub fn pipes(&mut self) -> io::Result<(Receiver, Sender)> {
        let gone = || io::Error::other("its pipes are taken");
        let output = OwnedFd::from(self.child.stdout.take().ok_or_else(gone)?);
        let input = OwnedFd::from(self.child.stdin.take().ok_or_else(gone)?);
        Ok((Receiver::from_owned_fd(output)?, Sender::from_owned_fd(input)?))
    }

    /// The end of what it said on standard error.
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let until = Instant::now() + ENDING;
        // It is not reaped before its group is killed: until then nobody else has its number.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while matches!(waitid(WaitId::Pid(pid), options), Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        // Nobody may be left in it, and then there is nothing to do.
        kill_process_group(pid, Signal::KILL).unwrap_or_default();
        drop(self.child.wait());
    }
}
