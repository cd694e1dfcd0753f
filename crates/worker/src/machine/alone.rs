//! A machine's single runs: each in a sandbox that is leased for it, followed to its end.

use super::{Event, Machine};
use crate::phases::{Measured, Phase};
use crate::pool::Happened;
use crate::proxies::Gate;
use crate::run::result_of_fault;
use crate::spawner::{Job, Shape};
use model::{EgressAttempt, Fault, RunResult};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

impl Machine {
    pub(super) async fn execute(
        &self,
        (tenant, job): (&str, &Job),
        shape: &Result<Box<Shape>, Fault>,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Box<RunResult> {
        let followed = match shape {
            Ok(shape) => self.follow((tenant, job), shape, events, cancel).await,
            Err(fault) => Err(fault.clone()),
        };
        followed.unwrap_or_else(|fault| {
            let (id, created_at) = (job.id.clone(), job.created_at.clone());
            Box::new(result_of_fault(id, created_at, &job.spec, self.image_of(shape), fault))
        })
    }

    async fn follow(
        &self,
        (tenant, job): (&str, &Job),
        shape: &Shape,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Result<Box<RunResult>, Fault> {
        let (pool, began) = (&self.inner.pool, Instant::now());
        // One that waited may have died since it was looked at; what it never got may be given to another.
        let running = pool.lease(shape)?.run(job).or_else(|_| pool.lease(shape)?.run(job));
        let mut running = running?;
        let lease = began.elapsed();
        self.inner.phases.add(Phase::Lease, lease);
        // A listener that is gone does not end a run.
        drop(events.send(Event::Started).await);
        let (mut gate, mut tried) = (None, Vec::new());
        loop {
            tokio::select! {
                happened = running.next() => match happened? {
                    Happened::Output(stream, bytes) => drop(events.send(Event::Output(stream, bytes)).await),
                    Happened::Listens(listener) => {
                        let asked = job.spec.egress.clone().unwrap_or_default();
                        gate = Some(self.inner.proxies.open(tenant, &asked, listener)?);
                    }
                    Happened::Settled(mut result, measured) => {
                        let rest = match gate.take() {
                            Some(gate) => gate.close().await,
                            None => Vec::new(),
                        };
                        for attempt in rest {
                            tried.push(attempt.clone());
                            drop(events.send(Event::Egress(attempt)).await);
                        }
                        result.egress = tried;
                        self.inner.phases.add_measured(&measured);
                        let lease = u64::try_from(lease.as_micros()).ok();
                        drop(events.send(Event::Measured(Measured { lease, ..measured })).await);
                        return Ok(result);
                    }
                },
                attempt = tried_next(&mut gate) => {
                    tried.push(attempt.clone());
                    drop(events.send(Event::Egress(attempt)).await);
                }
                () = cancel.notified() => running.cancel(),
            }
        }
    }
}

/// What a run tries next to reach; for ever nothing of one that has no way out.
async fn tried_next(gate: &mut Option<Gate>) -> EgressAttempt {
    if let Some(open) = gate {
        if let Some(attempt) = open.next().await {
            return attempt;
        }
        *gate = None;
    }
    std::future::pending().await
}
