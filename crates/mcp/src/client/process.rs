//! A server that is a program of this machine: started with an environment of its own, and ended with all that it started.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::{Receiver, Sender};

/// How much is kept of what a program says on standard error, in bytes: the end of it.
const SAID_BYTES_MAX: usize = 2_000;
/// How long a program has to end after its input did.
const ENDING: Duration = Duration::from_secs(2);
/// How long its last words are waited for once it has ended: something that it left may hold its standard error open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often its end is looked for.
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
    said: Arc<Said>,
    ended: bool,
}

/// What a program says on standard error.
#[derive(Default)]
struct Said {
    /// The end of it, and whether that was all.
    heard: Mutex<(Vec<u8>, bool)>,
    /// Told when it was.
    silence: Condvar,
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
        let said = Arc::new(Said::default());
        if let Some(mut errors) = child.stderr.take() {
            let said = Arc::clone(&said);
            // Ends with the last process that has the pipe.
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(bytes @ 1..) = errors.read(&mut piece) {
                    let (kept, _) = &mut *said.heard.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&piece[..bytes]);
                    let too_many = kept.len().saturating_sub(SAID_BYTES_MAX);
                    kept.drain(..too_many);
                }
                said.heard.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
                said.silence.notify_all();
            });
        }
        Ok(Self { child, said, ended: false })
    }

    /// Its standard output and input, once. To be called in a runtime.
    pub fn pipes(&mut self) -> io::Result<(Receiver, Sender)> {
        let gone = || io::Error::other("its pipes are taken");
        let output = OwnedFd::from(self.child.stdout.take().ok_or_else(gone)?);
        let input = OwnedFd::from(self.child.stdin.take().ok_or_else(gone)?);
        Ok((Receiver::from_owned_fd(output)?, Sender::from_owned_fd(input)?))
    }

    /// Ends it, and returns the end of what it said on standard error. Its pipes are to be closed before: a program that still waits for
    /// its input is killed after 2 s.
    pub fn last_words(&mut self) -> String {
        self.end();
        let heard = self.said.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.said.silence.wait_timeout_while(heard, LAST_WORDS, |(_, all)| !*all);
        let (heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard.0).into_owned()
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
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

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
