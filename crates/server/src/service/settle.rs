//! The end of a run's way: what became of it is written down before anybody is told.

use super::{Service, Unrecorded, now_ms};
use crate::cluster::arrived_of;
use crate::live::LiveRun;
use crate::problem::Problem;
use crate::traces::Change;
use model::{Fault, FaultCode, RunId, RunResult};
use std::sync::Arc;
use store::Settlement;

impl Service {
    /// Records a run on its way, so that lists show it. One that cannot be recorded does not go on.
    pub(super) async fn write_down(&self, id: &RunId, live: &LiveRun, unrecorded: Unrecorded) {
        let Unrecorded { run, started_at_ms } = unrecorded;
        if let Err(error) = self.store.admit(run).await {
            worker::log::warn(format_args!("{id}: record it: {error}"));
            live.cancel();
        } else {
            if let Some(at_ms) = started_at_ms {
                self.write_start(id, at_ms).await;
            }
            self.tell_trace(id, false);
        }
    }

    pub(super) async fn write_start(&self, id: &RunId, at_ms: i64) {
        if let Err(error) = self.store.started(id, at_ms).await {
            worker::log::warn(format_args!("{id}: record its start: {error}"));
        }
    }

    /// Writes down what became of a run; only then do listeners see it.
    pub(crate) async fn settle(
        &self,
        id: &RunId,
        live: &LiveRun,
        mut result: RunResult,
        unrecorded: Option<Box<Unrecorded>>,
    ) {
        let directory = match self.elsewhere.get() {
            Some(_) if arrived_of(&self.machine, id).exists() => arrived_of(&self.machine, id),
            _ => self.machine.artifacts_of(id),
        };
        let artifacts = match self.keep_artifacts(&directory, &result).await {
            Ok(artifacts) => artifacts,
            Err(error) => {
                result.fault =
                    Some(Fault::new(FaultCode::ResourcesExhausted, format!("keep artifacts: {error}")));
                result.outcome = None;
                result.artifacts.clear();
                Vec::new()
            }
        };
        live.tell_findings(&mut result);
        if let Some(signer) = &self.signer {
            result.receipt = Some(signer.sign(&result));
        }
        self.counters.settled(&result);
        let result = Arc::new(result);
        let settlement = Settlement {
            settled_at_ms: now_ms(),
            result: (*result).clone(),
            events: live.settle(result.clone()),
            artifacts,
            verdict: live.verdict(&result),
            trace: live.trace_end(&self.traces, &result),
        };
        let written = match unrecorded {
            // One transaction instead of three.
            Some(unrecorded) => {
                let Unrecorded { run, started_at_ms } = *unrecorded;
                self.store.record(run, started_at_ms, settlement).await.map(drop)
            }
            None => self.store.settle(id, settlement).await,
        };
        if let Err(error) = written {
            worker::log::warn(format_args!("{id}: record its result: {error}"));
            live.fail(Problem::from(error));
        }
        self.tell_trace(id, true);
        live.finish();
    }

    /// Tells those who follow traces that the one of a run on its way changed in the store.
    pub(super) fn tell_trace(&self, id: &RunId, ended: bool) {
        let live = self.live.get(id.as_str());
        if let Some((tenant, own)) = live.as_ref().and_then(|live| Some((&live.tenant, live.trace()?))) {
            let change = if ended { Change::Ended(own.span) } else { Change::Told };
            self.traces.notices.tell(tenant, own.trace, change);
        }
    }
}
