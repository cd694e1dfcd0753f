//! A machine's runs in sessions: those that keep an interpreter's state wait in the session's lane for the one before them, and all
//! wait for a place as any run does.

use super::{Event, Machine, Order, Pending, Ticket};
use crate::lanes::{Entered, Lanes};
use crate::phases::{Measured, Phase};
use crate::queue::{Full, Share};
use crate::run::result_of_fault;
use crate::session::{How, Session, SessionHappened, SessionParts, SessionShape};
use crate::spawner::{Job, Shape};
use crate::template::NotReady;
use model::{Background, Fault, Layer, RunResult, RunSpec, SessionId};
use sandbox::command::way_out_environment;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

impl Machine {
    /// Opens a session in a sandbox of the template, with the limits and the hosts to reach, of this run that is not run; its
    /// interpreters have its variables.
    pub fn open_session(
        &self,
        id: SessionId,
        (tenant, spec): (&str, &RunSpec),
        background: Background,
        allow_missing: BTreeSet<Layer>,
    ) -> Result<Session, NotReady> {
        let prepared = match &spec.environment {
            Some(_) => self.inner.templates.of_tenant(tenant, spec)?,
            None => self.inner.templates.by_name(&spec.template, spec.python.as_deref())?,
        };
        spec.egress.iter().try_for_each(|asked| self.inner.proxies.admit(tenant, asked))?;
        self.have_warm(&prepared);
        let (image, reaches) = (self.trusting(&prepared.image, spec), spec.egress.is_some());
        let proxy = reaches.then(|| way_out_environment(&image)).into_iter().flatten();
        let proxy: Vec<_> = proxy.chain(spec.egress.iter().flat_map(model::Egress::placeholders)).collect();
        let (ahead, modules) = (None, Vec::new());
        let shape = Shape { image, limits: spec.limits, allow_missing, ahead, modules, egress: reaches };
        // The session's own variables win.
        let env = proxy.into_iter().chain(spec.env.clone()).collect();
        let way_out = spec.egress.clone().map(|asked| (self.inner.proxies.clone(), tenant.to_owned(), asked));
        let parts = SessionParts {
            id,
            shape: SessionShape { shape, env, background },
            way_out,
            hold: Some(prepared),
        };
        Ok(Session::open(&self.inner.pool, parts)?)
    }

    /// Takes a run of a session in: one that keeps the interpreter's state waits for those before it.
    pub fn submit_in(
        &self,
        tenant: &str,
        share: Share,
        order: Order,
        session: &Session,
        how: How,
    ) -> Result<Ticket, Full> {
        let Order { id, created_at, spec, .. } = order;
        let in_turn = matches!(how, How::State { .. });
        let shape = Ok(Box::new(session.shape().shape.clone()));
        let job = Job { artifacts: self.artifacts_of(&id), id: id.clone(), created_at, spec };
        let (ticket, pending) = self.pend(tenant, share, job, shape, Some((session.clone(), how)));
        if !in_turn {
            self.queue_up(pending)?;
            return Ok(ticket);
        }
        let weight = pending.weight;
        let entered = {
            // Lanes before the queue, as everywhere.
            let mut lanes = self.lanes();
            let (lane, beside) = (session.id().as_str(), lanes.beside(tenant));
            match lanes.is_busy(lane) {
                true => self.queue().room_beside(tenant, share, beside)?,
                false => self.queue().room(tenant, share, beside)?,
            }
            lanes.enter(lane, tenant, id.as_str(), weight, pending)
        };
        match entered {
            Entered::First(pending) => self.go_on(pending),
            Entered::Waits => {}
            Entered::Full => return Err(Full::Tenant),
        }
        Ok(ticket)
    }

    /// Queues a run whose turn in its session it is.
    fn go_on(&self, pending: Pending) {
        let (tenant, share, weight) = (pending.tenant.clone(), pending.share, pending.weight);
        let number = pending.number.clone();
        {
            let mut queue = self.queue();
            number.store(queue.push_admitted(&tenant, share, weight, pending), Ordering::Relaxed);
        }
        self.dispatch();
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes<Pending>> {
        self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next run of a session go on.
    pub(super) fn leave_lane(&self, session: &SessionId) {
        let next = self.lanes().leave(session.as_str());
        if let Some(next) = next {
            self.go_on(next);
        }
    }

    pub(super) async fn execute_in(
        &self,
        session: &Session,
        how: &How,
        job: &Job,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Box<RunResult> {
        let followed = self.follow_in(session, how, job, events, cancel).await;
        followed.unwrap_or_else(|fault| {
            let (id, created_at) = (job.id.clone(), job.created_at.clone());
            let image = &session.shape().shape.image;
            let result = result_of_fault(id, created_at, &job.spec, image, fault);
            Box::new(RunResult { session: Some(session.id().to_string()), ..result })
        })
    }

    async fn follow_in(
        &self,
        session: &Session,
        how: &How,
        job: &Job,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Result<Box<RunResult>, Fault> {
        let began = Instant::now();
        let mut running = session.run(job, how.clone()).await?;
        let lease = began.elapsed();
        self.inner.phases.add(Phase::Lease, lease);
        loop {
            tokio::select! {
                happened = running.next() => match happened? {
                    SessionHappened::Started => drop(events.send(Event::Started).await),
                    SessionHappened::Output(stream, bytes) => drop(events.send(Event::Output(stream, bytes)).await),
                    SessionHappened::Egress(attempt) => drop(events.send(Event::Egress(attempt)).await),
                    SessionHappened::Settled(result, measured) => {
                        self.inner.phases.add_measured(&measured);
                        let lease = u64::try_from(lease.as_micros()).ok();
                        drop(events.send(Event::Measured(Measured { lease, ..measured })).await);
                        return Ok(result);
                    }
                },
                () = cancel.notified() => running.cancel().await,
            }
        }
    }
}
