//! What became of a run of a session, as its result.

use super::SessionTold;
use super::run::{Place, Run};
use crate::phases::Measured;
use crate::run::{result_of, result_of_fault};
use model::{Fault, FaultCode, Isolation, RunResult};
use sandbox::cgroup::Counters;
use sandbox::files::Collected;
use sandbox::frames::{Done, Said, Status};
use sandbox::judge::{Seen, Stop, judge};
use sandbox::run::Settled;
use sandbox::supervise::Watched;
use std::time::Duration;
use sys::process::Ended;

/// What was seen of a run when it was over.
pub(super) struct Over {
    /// How it ended by itself, if it did.
    pub ended: Option<Ended>,
    pub said: Said,
    pub cpu_us: u64,
    pub counters: Counters,
    pub collected: Collected,
    pub isolation: Isolation,
    /// Whether its interpreter ended with it.
    pub state_lost: bool,
}

/// How a run ended whose interpreter says that it is done.
pub(super) fn ended_of(done: Done) -> Ended {
    match done.status {
        Status::Ok | Status::Exit => Ended::Exited(done.code & 0xff),
        Status::Error | Status::Interrupted => Ended::Exited((done.code & 0xff).max(1)),
    }
}

/// The run's result.
pub(super) fn settle(run: Run, over: Over, image: &sandbox::Image) -> SessionTold {
    let Over { ended, said, cpu_us, counters, collected, isolation, state_lost } = over;
    let Run { session, place, output, began, wall, stop, disk_full, before, .. } = run;
    let wall = wall.unwrap_or_else(|| began.elapsed());
    let [stdout, stderr] = output.kept;
    let seen = Seen {
        ended,
        stop,
        oom_kills: counters.oom_kills.saturating_sub(before.oom_kills),
        process_refusals: counters.process_refusals.saturating_sub(before.process_refusals),
        disk_full,
        output_truncated: stdout.dropped_bytes() > 0 || stderr.dropped_bytes() > 0,
    };
    let in_state = matches!(place, Place::State(_));
    let result = match judge(&seen) {
        None => fault(&session, image, Fault::new(FaultCode::Interrupted, "the sandbox died under the run")),
        Some(mut judgement) => {
            if stop.is_some() && in_state && !state_lost {
                judgement.signal = Some(libc::SIGINT);
            }
            let memory_peak_bytes = counters.memory_peak_bytes;
            let cpu_us = cpu_us.saturating_sub(before.cpu_us);
            let watched =
                Watched { seen, stdout, stderr, said, wall, memory_peak_bytes, cpu_us: Some(cpu_us) };
            let starting = Duration::ZERO;
            let settled = Settled {
                judgement,
                watched,
                cpu_us,
                collected,
                isolation,
                starting,
                collecting: Duration::ZERO,
            };
            let job = &session.job;
            let mut result = result_of(job.id.clone(), job.created_at.clone(), &job.spec, image, &settled);
            result.state_lost = state_lost;
            result
        }
    };
    let guest = u64::try_from(wall.as_micros()).ok();
    SessionTold { number: session.number, result, measured: Measured { guest, ..Measured::default() } }
}

/// The result of a run that could not be done.
pub(super) fn fault(session: &super::SessionJob, image: &sandbox::Image, fault: Fault) -> RunResult {
    result_of_fault(session.job.id.clone(), session.job.created_at.clone(), &session.job.spec, image, fault)
}

/// A run that was stopped before it began.
pub(super) fn taken_back(
    run: Run,
    stop: Option<Stop>,
    isolation: Isolation,
    image: &sandbox::Image,
) -> SessionTold {
    settle(Run { stop, ..run }, nothing(None, isolation), image)
}

/// A run that did not begin because there was no room for it.
pub(super) fn disk_full(run: Run, isolation: Isolation, image: &sandbox::Image) -> SessionTold {
    let what = "the session's disk is full, so this was not started; remove files and try again";
    not_begun(Run { disk_full: true, ..run }, what, isolation, image)
}

/// A run that did not begin because its own files, or what lies in the session, did not let it.
pub(super) fn in_the_way(
    run: Run,
    error: &sys::Error,
    isolation: Isolation,
    image: &sandbox::Image,
) -> SessionTold {
    let reason = std::io::Error::from_raw_os_error(error.errno);
    let what = format!(
        "this was not started, since its files could not be put into the session: {reason}; look at what lies there, and its modes"
    );
    not_begun(run, &what, isolation, image)
}

/// A run that did not begin because as many processes are there as may be.
pub(super) fn crowded(run: Run, isolation: Isolation, image: &sandbox::Image) -> SessionTold {
    let what =
        "as many processes are in the session as may be, so this was not started; end some and try again";
    let counters = Counters { process_refusals: run.before.process_refusals + 1, ..Counters::default() };
    told_instead(run, what, Over { counters, ..nothing(Some(Ended::Exited(1)), isolation) }, image)
}

/// Tells this to whoever sent the run.
fn not_begun(run: Run, what: &str, isolation: Isolation, image: &sandbox::Image) -> SessionTold {
    told_instead(run, what, nothing(Some(Ended::Exited(1)), isolation), image)
}

fn told_instead(run: Run, what: &str, over: Over, image: &sandbox::Image) -> SessionTold {
    let mut told = settle(run, over, image);
    told.result.exit_code = None;
    told.result.stderr = format!("fireclay: {what}\n");
    told
}

fn nothing(ended: Option<Ended>, isolation: Isolation) -> Over {
    Over {
        ended,
        said: Said::default(),
        cpu_us: 0,
        counters: Counters::default(),
        collected: Collected::default(),
        isolation,
        state_lost: false,
    }
}
