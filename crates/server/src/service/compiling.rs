//! The step before the runs of compiled languages: their programs are made, or what the compiler said is their result.

use super::{Service, Submitted, internal};
use crate::checks::Checked;
use crate::live::{Judge, LiveRun};
use crate::problem::Problem;
use crate::traces::Timeline;
use model::{RunResult, RunSpec, TenantId};
use std::sync::Arc;
use store::{Admission, NewRun};
use worker::installer::compile::{Compiled, Refused};
use worker::machine::Order;
use worker::pool::Stream;

impl Service {
    /// Has the program of a run compiled, if its language asks for that, and laid over its sandbox; answers what the compiler said
    /// against it. How long that took is told to `timeline`.
    pub async fn compile(
        &self,
        tenant: &TenantId,
        spec: &mut RunSpec,
        timeline: Option<&mut Timeline>,
    ) -> Result<Option<Refused>, Problem> {
        let compiled = self.machine.installer().compile(tenant.as_str(), spec).await?;
        if let (Some(timeline), Compiled::Program(_) | Compiled::Refused(_)) = (timeline, &compiled) {
            timeline.mark("compile");
        }
        Ok(match compiled {
            Compiled::AsItIs => None,
            Compiled::Program(layer) => {
                spec.environment = Some(layer.hex);
                None
            }
            Compiled::Refused(refused) => Some(refused),
        })
    }

    /// The result of a run that the static check, or its compiler, refused.
    pub(super) fn unrun(&self, order: Order, checked: Checked, refused: Option<Refused>) -> RunResult {
        match refused {
            Some(refused) => {
                let result = self.machine.refused(order, refused);
                RunResult { findings: checked.findings, ..result }
            }
            None => self.machine.denied(order, checked.findings),
        }
    }

    /// Records a run that ended before it had a place, and settles it: all else that a run has it has.
    pub(crate) async fn settle_unrun(
        self: &Arc<Self>,
        run: NewRun,
        result: RunResult,
        timeline: Option<Timeline>,
        judge: Option<Judge>,
    ) -> Result<Submitted, Problem> {
        let service = self.clone();
        // In a task of its own, as every run: a client that breaks off leaves nothing half done.
        let settling = tokio::spawn(async move {
            let id = run.id.clone();
            let live = LiveRun::new(run.tenant.clone(), judge);
            live.noticed(result.findings.clone());
            live.traced(timeline);
            if let Admission::Replayed(first) = service.store.admit(run).await? {
                return Ok(Submitted::Replayed(first));
            }
            service.live.insert(id.as_str(), live.clone());
            live.is_taken_in();
            // What a compiler said is heard by those who follow, as what the program would have.
            for (stream, text) in [(Stream::Stdout, &result.stdout), (Stream::Stderr, &result.stderr)] {
                if !text.is_empty() {
                    live.output(stream, text.as_bytes());
                }
            }
            service.settle(&id, &live, result, None).await;
            service.live.remove(id.as_str());
            Ok(Submitted::New { id, live })
        });
        settling.await.map_err(|error| internal(error.to_string()))?
    }
}
