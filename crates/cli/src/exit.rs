//! Exit codes: one table.

use model::{Fault, Outcome, Rejection};
use sandbox::run::Refused;
use std::process::ExitCode;

/// The request was the caller's mistake; also what clap uses.
pub const REJECTED: u8 = 2;
/// We failed (`EX_SOFTWARE` of sysexits.h).
pub const FAULT: u8 = 70;

/// The code of a settled run.
pub fn code_of_outcome(outcome: Outcome, exit_code: Option<i32>, signal: Option<i32>) -> u8 {
    match outcome {
        Outcome::SetupFailed => 3,
        Outcome::Denied => 4,
        Outcome::TimedOut => 124,
        Outcome::Cancelled => 130,
        Outcome::MemoryExceeded | Outcome::OutputExceeded => 137,
        Outcome::DiskExceeded if exit_code.is_none() => 137,
        // An exit code is eight bits already; a signal's is what a shell would say.
        Outcome::Completed | Outcome::Failed | Outcome::DiskExceeded | Outcome::Signalled => {
            let code = exit_code.or(signal.map(|signal| 128 + signal)).unwrap_or(1);
            (code & 255) as u8
        }
    }
}

/// The code of a finished command; what went wrong is said on standard error.
pub fn code_of(done: anyhow::Result<u8>) -> ExitCode {
    let error = match done {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    let rejected = error
        .chain()
        .any(|cause| cause.is::<Rejection>() || matches!(cause.downcast_ref(), Some(Refused::Rejected(_))));
    eprintln!("fireclay: {error:#}");
    ExitCode::from(if rejected { REJECTED } else { FAULT })
}

/// Makes a command's error of one of ours.
pub fn fault(fault: Fault) -> anyhow::Error {
    anyhow::Error::new(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn the_table() {
        let mut table = String::new();
        for outcome in Outcome::ALL {
            let by_exit = code_of_outcome(outcome, Some(7), None);
            let by_signal = code_of_outcome(outcome, None, Some(11));
            writeln!(table, "{outcome:<16} {by_exit:>3} {by_signal:>3}").unwrap();
        }
        insta::assert_snapshot!(table, @r"
        completed          7 139
        failed             7 139
        setup_failed       3   3
        timed_out        124 124
        memory_exceeded  137 137
        output_exceeded  137 137
        disk_exceeded      7 137
        signalled          7 139
        denied             4   4
        cancelled        130 130
        ");
    }
}
