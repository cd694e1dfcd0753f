//! This machine as the hands of a worker: runs of others go the way of its own, from its queue on.

use super::luggage::Bringer;
use crate::needs::Needs;
use crate::problem::Problem;
use crate::service::{Service, internal};
use crate::traces::{PACKAGE_BUILD, Timeline};
use cluster::work::Envelope;
use cluster::worker::{Later, Load};
use cluster::{Doing, Hands, Happening, Task, Took};
use model::{Fault, FaultCode, RunId};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use worker::installer::Over;
use worker::machine::{Event, Order, Ticket};
use worker::phases::Measured;
use worker::pool::Stream;
use worker::queue::Share;
use worker::session::Why;

/// How many things that happened may wait for the bus; then the run waits too.
const HAPPENED_MAX: usize = 64;

/// The machine of a service.
pub struct MachineHands {
    service: Arc<Service>,
    bringer: Arc<Bringer>,
}

impl MachineHands {
    /// Those of this service's machine.
    pub fn new(service: Arc<Service>, bringer: Arc<Bringer>) -> Self {
        Self { service, bringer }
    }

    async fn begin_one(&self, envelope: &Envelope, task: Task) -> Result<Doing, Fault> {
        let service = &self.service;
        let mut spec = task.spec;
        let mut timeline = Timeline::alone();
        let mark = |timeline: &mut Option<Timeline>, name: &str| {
            timeline.iter_mut().for_each(|timeline| timeline.mark(name));
        };
        // Chosen by its gateway: this very version, or none.
        spec.python = service.have_python(&spec).await.map_err(|problem| fault(&problem))?;
        let is_complete = match &task.luggage {
            Some(luggage) => self.bringer.unpack(&envelope.tenant, luggage, &mut spec).await?,
            None => false,
        };
        let ready = service.machine.have_toolchain(&spec).await;
        ready
            .and_then(|()| service.machine.check(envelope.tenant.as_str(), &spec))
            .map_err(|not| fault(&Problem::from(not)))?;
        mark(&mut timeline, "admission");
        if !is_complete {
            let minor = service.machine.installer().python_minor(Over::from(&spec));
            let needs = Needs::of(&task.packages, task.auto_packages, &spec, minor)
                .map(|needs| needs.only_there(task.offline))
                .map_err(|rejection| fault(&rejection.into()))?;
            let installed = service.install(&envelope.tenant, Over::from(&spec), &needs).await;
            spec.environment = installed.map_err(|problem| fault(&problem))?;
            if spec.environment.is_some() {
                mark(&mut timeline, PACKAGE_BUILD);
            }
        }
        let refused = service.compile(&envelope.tenant, &mut spec, timeline.as_mut()).await;
        let refused = refused.map_err(|problem| fault(&problem))?;
        let took = timeline.as_ref().map(before).unwrap_or_default();
        let order = Order {
            id: envelope.run.clone(),
            created_at: envelope.created_at.clone(),
            spec,
            allow_missing: task.allow_missing,
        };
        if let Some(refused) = refused {
            let (sender, happenings) = mpsc::channel(1);
            let result = Box::new(service.machine.refused(order, refused));
            sender
                .send(Happening::Settled(result, took))
                .await
                .map_err(|_| fault(&internal("nobody listens".into())))?;
            return Ok(Doing { happenings, cancel: Box::new(|| {}) });
        }
        // Admitted once, by its gateway: here nothing waits but what was pulled.
        let share =
            Share { concurrency: envelope.concurrency, waiting: usize::MAX, priority: envelope.priority };
        let ticket = service.machine.submit(envelope.tenant.as_str(), share, order);
        let ticket = ticket.map_err(|full| Fault::new(FaultCode::ResourcesExhausted, full.to_string()))?;
        let canceller = ticket.canceller();
        let (sender, happenings) = mpsc::channel(HAPPENED_MAX);
        tokio::spawn(pass_on(ticket, took, sender, service.machine.artifacts_of(&envelope.run)));
        Ok(Doing { happenings, cancel: Box::new(move || canceller.cancel()) })
    }
}

impl Hands for MachineHands {
    fn load(&self) -> Load {
        let worker::machine::Load { places, running, queued } = self.service.machine.load();
        Load { places, running, queued }
    }

    fn released(&self) -> Later<'_, ()> {
        Box::pin(self.service.machine.released())
    }

    fn begin<'a>(&'a self, envelope: &'a Envelope, task: Task) -> Later<'a, Result<Doing, Fault>> {
        Box::pin(self.begin_one(envelope, task))
    }

    fn sessions(&self) -> (usize, usize) {
        let most = if self.service.is_draining() { 0 } else { self.service.settings.session.max };
        (self.service.sessions.count(), most)
    }

    fn templates(&self) -> Vec<String> {
        self.service.machine.stock().prepared().into_iter().collect()
    }

    fn cut_off(&self) {
        let detail = "its node could tell the cluster nothing for too long, and others took it for lost";
        self.service.sessions.end_all_as(Why::NodeLost, detail);
    }

    fn artifacts(&self, run: &RunId) -> PathBuf {
        self.service.machine.artifacts_of(run)
    }
}

/// What was done for a run before it was queued here.
fn before(timeline: &Timeline) -> Took {
    let took = |wanted: &str| {
        let span = timeline.times().spans.iter().find(|(name, ..)| name == wanted);
        span.and_then(|(_, _, took)| u64::try_from(*took).ok())
    };
    Took { install: took(PACKAGE_BUILD), compile: took("compile"), ..Took::default() }
}

/// Passes on what happens to a run. When nobody wants it any more it is taken back, and nothing of it stays.
async fn pass_on(mut ticket: Ticket, mut took: Took, sender: mpsc::Sender<Happening>, artifacts: PathBuf) {
    loop {
        let event = tokio::select! {
            event = ticket.next() => event,
            () = sender.closed() => break,
        };
        let Some(event) = event else { return };
        let happening = match event {
            Event::Started => Happening::Started,
            Event::Output(stream, bytes) => Happening::Output { stderr: stream == Stream::Stderr, bytes },
            Event::Egress(attempt) => Happening::Egress(attempt),
            Event::Measured(Measured { lease, fork, guest, collect, .. }) => {
                took = Took { lease, fork, guest, collect, ..took };
                continue;
            }
            Event::Settled(result) => Happening::Settled(result, took),
        };
        let is_last = matches!(happening, Happening::Settled(..));
        if sender.send(happening).await.is_err() {
            break;
        }
        if is_last {
            return;
        }
    }
    ticket.canceller().cancel();
    while ticket.next().await.is_some() {}
    drop(tokio::fs::remove_dir_all(artifacts).await);
}

/// What became of a run that this node cannot begin, as its gateway tells it.
fn fault(problem: &Problem) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, problem.to_string())
}
