//! A listener that is served, as the service keeps it: all that the next proxy process needs if the one that serves it dies.

use super::{EgressPolicy, Keeper, OPEN, Open};
use crate::json;
use model::{Egress, EgressAttempt, EgressVerdict};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::mpsc::UnboundedSender;

/// What a run or a session is told when its proxy died. What was open then cannot be told one by one: who knew of it is gone.
pub(super) const LOST: &str =
    "the proxy died and was started again: what was connected then was cut off, and is not told";

/// What is heard of one gate.
#[derive(Debug)]
pub(super) enum Heard {
    /// This was tried.
    Attempt(EgressAttempt),
    /// Nothing that was tried before the question with this number is untold.
    SoFar(u32),
    /// The process that served it died: it answers no question any more.
    Lost,
}

impl Heard {
    /// What was tried, if it is that.
    pub(super) fn attempt(self) -> Option<EgressAttempt> {
        match self {
            Self::Attempt(attempt) => Some(attempt),
            Self::SoFar(_) | Self::Lost => None,
        }
    }
}

/// One gate, from its opening until nothing more can be told of it.
#[derive(Debug)]
pub(super) struct Served {
    /// Where the sandbox connects to; none once the gate is closing.
    pub(super) listener: Option<OwnedFd>,
    pub(super) asked: Egress,
    pub(super) policy: EgressPolicy,
    /// Who keeps its secrets, and whose they are.
    pub(super) keeper: Option<(Keeper, String)>,
    /// By which process it is served.
    pub(super) generation: u32,
    pub(super) account: Account,
    pub(super) sender: UnboundedSender<Heard>,
}

impl Served {
    /// Has the process at the other end of this socket serve it, for the first time or after another: by the same rules, with the secrets
    /// that its tenant still keeps, within what is left of its bounds.
    ///
    /// # Errors
    /// What the kernel says; of a process that is gone EPIPE or ECONNRESET. Of one for the first time, a secret that is gone.
    pub(super) fn serve_by(&mut self, number: u32, generation: u32, socket: &OwnedFd) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let again = self.generation != generation;
        let mut asked = self.asked.clone();
        let secrets = match &self.keeper {
            None => None,
            Some((keeper, tenant)) => {
                if again {
                    asked = keeper.left_of(tenant, &asked);
                }
                Some(keeper.say(tenant, &asked).map_err(|fault| io::Error::other(fault.to_string()))?)
            }
        };
        let open = Open { number, asked, policy: self.account.left_of(&self.policy), secrets };
        let said = json::memory(c"egress", &open)?;
        self.generation = generation;
        Ok(sys::socket::send(socket.as_fd(), &[OPEN], &[listener.as_fd(), said.as_fd()])?)
    }

    /// Passes on what was tried, unless as many of its kind were told as may be.
    pub(super) fn tell(&mut self, attempt: EgressAttempt) {
        if self.account.takes(&attempt) {
            // One whose run is over may have been told already.
            drop(self.sender.send(Heard::Attempt(attempt)));
        }
    }

    /// Says that the process that served it is gone.
    pub(super) fn lose(&mut self) {
        let (host, reason) = (String::new(), LOST.to_owned());
        let verdict = EgressVerdict::Failed;
        self.tell(EgressAttempt { host, port: 0, verdict, reason, bytes_up: 0, bytes_down: 0, ms: 0 });
        drop(self.sender.send(Heard::Lost));
    }
}

/// What was told of one gate, by all processes that served it.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Attempts, by verdict.
    told: [u64; 3],
    bytes_up: u64,
    bytes_down: u64,
}

impl Account {
    /// Counts an attempt. False if there were as many of its verdict as one sandbox is told: each process counts anew.
    fn takes(&mut self, attempt: &EgressAttempt) -> bool {
        self.bytes_up = self.bytes_up.saturating_add(attempt.bytes_up);
        self.bytes_down = self.bytes_down.saturating_add(attempt.bytes_down);
        let told = &mut self.told[attempt.verdict as usize];
        *told += 1;
        *told <= egress::Limits::default().attempts_max
    }

    /// The policy with the bytes that are left. What passed untold, when a process died, is not counted.
    fn left_of(&self, policy: &EgressPolicy) -> EgressPolicy {
        EgressPolicy {
            bytes_up: policy.bytes_up.saturating_sub(self.bytes_up),
            bytes_down: policy.bytes_down.saturating_sub(self.bytes_down),
            ..policy.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(verdict: EgressVerdict) -> EgressAttempt {
        let (host, reason) = ("a.test".to_owned(), String::new());
        EgressAttempt { host, port: 443, verdict, reason, bytes_up: 3, bytes_down: 5, ms: 1 }
    }

    /// A crash gives a sandbox nothing anew: neither bytes nor attempts that are told.
    #[test]
    fn bounds_are_of_the_sandbox_whoever_serves_it() {
        let policy = EgressPolicy { bytes_up: 10, bytes_down: 12, ..EgressPolicy::default() };
        let mut account = Account::default();
        assert_eq!(account.left_of(&policy), policy);
        assert!(
            account.takes(&attempt(EgressVerdict::Allowed))
                && account.takes(&attempt(EgressVerdict::Refused))
        );
        let left = account.left_of(&policy);
        assert_eq!((left.bytes_up, left.bytes_down), (4, 2));
        assert!(account.takes(&attempt(EgressVerdict::Failed)));
        assert_eq!(account.left_of(&policy).bytes_down, 0);
        let most = egress::Limits::default().attempts_max;
        assert!((1..most).all(|_| account.takes(&attempt(EgressVerdict::Refused))));
        assert!(!account.takes(&attempt(EgressVerdict::Refused)));
        assert!(account.takes(&attempt(EgressVerdict::Allowed)), "refusals do not crowd out what passed");
    }
}
