//! What the doors share: the machine, the store, the runs on their way, and the way of a run from request to record.

use crate::attach::Attachments;
use crate::batches::Batches;
use crate::chat::Parted;
use crate::cluster::{Elsewhere, Wanted};
use crate::console::Logins;
use crate::counters::Counters;
use crate::doctor::{Doctor, DoctorCommand};
use crate::live::{Judge, Live, LiveRun};
use crate::local::Local;
use crate::models::{Model, Models, NoModel};
use crate::needs::Needs;
use crate::problem::Problem;
use crate::pulse::Pulse;
use crate::quotas::{Complete, Quotas};
use crate::receipts::Signer;
use crate::secrets::Secrets;
use crate::sessions::{Bound, Busy, Sessions};
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::traces::{Origin, PACKAGE_BUILD, Timeline, Traces};
use crate::way::Way;
use model::{BatchId, Fault, FaultCode, Layer, Policy, RunId, RunRequest, RunSpec, TenantId};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Admission, Idempotency, NewRun, Reader, Scope, Store};
use worker::installer::Over;
use worker::machine::{Event, Machine, Order};
use worker::queue::Share;

mod compiling;
mod drain;
mod handing;
mod policy;
mod reading;
mod settle;

pub use drain::draining;
pub use reading::read;

/// What a service is made of.
#[derive(Debug)]
pub struct Parts {
    /// Settings.
    pub settings: Settings,
    /// The machine that runs.
    pub machine: Machine,
    /// The record of it all.
    pub store: Store,
    /// Layers that runs may do without while this machine's person is the only one served, besides those of the settings.
    pub alone_missing: BTreeSet<Layer>,
    /// Signs receipts, if they are wanted.
    pub signer: Option<Signer>,
    /// The command whose output is the doctor's report.
    pub doctor: DoctorCommand,
    /// Where the files of sessions that ended wait.
    pub session_files: PathBuf,
    /// What makes it one person's.
    pub local: Option<Local>,
    /// The language model that its settings name, or why there is none.
    pub model: Result<Arc<dyn Model>, NoModel>,
    /// What is done about traces.
    pub traces: Traces,
    /// Secrets of tenants, if this build keeps any.
    pub secrets: Option<Arc<Secrets>>,
}

/// The service. One in a process.
#[derive(Debug)]
pub struct Service {
    /// Settings.
    pub settings: Settings,
    /// Defaults and ceilings for everybody.
    pub policy: Policy,
    /// The machine that runs.
    pub machine: Machine,
    /// The record of it all, to be written.
    pub store: Store,
    /// The record of it all, to be read.
    pub reader: Reader,
    /// What each tenant may do.
    pub quotas: Quotas,
    /// Runs on their way.
    pub live: Live,
    /// Batches on their way.
    pub batches: Batches,
    /// Sessions that are open.
    pub sessions: Sessions,
    /// Who is attached to them.
    pub attachments: Attachments,
    /// Signs receipts.
    pub signer: Option<Signer>,
    /// What was counted.
    pub counters: Counters,
    /// Examines the machine.
    pub doctor: Doctor,
    /// Whether records can be written.
    pub pulse: Pulse,
    /// What makes it one person's.
    pub local: Option<Local>,
    /// The language model.
    pub models: Models,
    /// Tasks on their way.
    pub tasks: Tasks,
    /// Who is logged in at the console.
    pub logins: Logins,
    /// Chats that went to their clients for the results of tools.
    pub parted: Parted,
    /// What all of it did.
    pub traces: Traces,
    /// Secrets of tenants, if this build keeps any.
    pub secrets: Option<Arc<Secrets>>,
    /// Other nodes, once this has joined them.
    pub elsewhere: OnceLock<Elsewhere>,
    alone_missing: BTreeSet<Layer>,
    draining: AtomicBool,
}

/// A run to be submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whose it is.
    pub tenant: TenantId,
    /// What is asked.
    pub request: RunRequest,
    /// The client's key for it.
    pub idempotency: Option<Idempotency>,
    /// The batch it belongs to, and its place there.
    pub batch: Option<(BatchId, u32)>,
    /// Whether stderr goes where stdout goes.
    pub merge_output: bool,
    /// Whether nobody hears of it before it is settled: then its record may wait until then.
    pub told_late: bool,
    /// An environment that was installed for it; else what it needs is installed now.
    pub environment: Option<String>,
    /// The session that it is a run of.
    pub session: Option<Bound>,
    /// Where its trace comes from.
    pub trace: Origin,
}

/// A submitted run.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// It is on its way.
    New {
        /// This run.
        id: RunId,
        /// What happens to it.
        live: Arc<LiveRun>,
    },
    /// The same request was submitted before.
    Replayed(RunId),
}

/// A run that nobody was told of yet, to be recorded with its result.
pub(crate) struct Unrecorded {
    run: NewRun,
    started_at_ms: Option<i64>,
}

/// How long a run may be on its way without a record: lists show those that take longer.
const UNRECORDED: Duration = Duration::from_millis(100);

/// Where a run goes: its share, its session, and what other nodes have to know if it goes to those.
type Place = (Share, Option<Bound>, Option<Wanted>);

/// What became of a run that was to be recorded and queued.
enum Queued {
    /// It is queued, and recorded unless that is still to be done.
    New(Way, Option<Box<Unrecorded>>),
    /// Another was, for the same request.
    Before(RunId),
}

impl Service {
    /// A service at rest.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            settings,
            machine,
            store,
            alone_missing,
            signer,
            doctor,
            session_files,
            local,
            model,
            traces,
            secrets,
        } = parts;
        let quotas = Quotas::new(&settings, machine.load().places);
        let models = Models::new(model, &settings.model);
        let (policy, reader) = (settings.policy(), store.reader());
        Arc::new(Self {
            settings,
            policy,
            machine,
            store,
            logins: Logins::of_before(&reader),
            reader,
            quotas,
            live: Live::default(),
            batches: Batches::default(),
            sessions: Sessions::new(session_files),
            attachments: Attachments::default(),
            signer,
            counters: Counters::default(),
            doctor: Doctor::new(doctor),
            pulse: Pulse::default(),
            local,
            models,
            tasks: Tasks::default(),
            parted: Parted::default(),
            traces,
            secrets,
            elsewhere: OnceLock::new(),
            alone_missing,
            draining: AtomicBool::new(false),
        })
    }

    /// Takes a run in: admitted, recorded and queued when this returns.
    pub async fn submit(self: &Arc<Self>, submission: Submission) -> Result<Submitted, Problem> {
        self.submit_judged(submission, None).await
    }

    /// Takes a run in whose verdict is recorded with its result.
    pub async fn submit_judged(
        self: &Arc<Self>,
        submission: Submission,
        judge: Option<Judge>,
    ) -> Result<Submitted, Problem> {
        let Submission {
            tenant,
            request,
            idempotency,
            batch,
            merge_output,
            told_late,
            session,
            environment,
            trace,
        } = submission;
        let mut timeline = Timeline::begin(&self.traces, trace);
        if self.is_draining() {
            return Err(draining());
        }
        let text = serde_json::to_string(&request).map_err(|error| internal(error.to_string()))?;
        let metadata = request.metadata.clone();
        let (verdicts, review) = (self.verdicts_of(&tenant, &request).await?, request.review);
        let (packages, auto, offline) = (request.packages.clone(), request.auto_packages, request.offline);
        let (wanted, names_python) = (Wanted::of(&request), request.python.is_some());
        let spec = match &session {
            Some(bound) => bound.admit(request, &self.policy_of(&tenant).await?)?,
            None => self.admit(&tenant, request).await?,
        };
        let mut spec = RunSpec { merge_output, ..spec };
        let minor = self.machine.installer().python_minor(Over::from(&spec));
        let needs = match (&session, &environment) {
            (None, None) => Needs::of(&packages, auto, &spec, minor)?,
            (Some(bound), _) => Needs::of_session(&packages, auto, (bound, &mut spec), minor)?,
            _ => Needs::default(),
        };
        let needs = needs.only_there(offline);
        // A batch is one submission.
        if batch.is_none() {
            self.quotas.spend(&tenant)?;
        }
        let Complete { share, everywhere, .. } = self.quotas.of(&self.reader, &tenant).await?;
        let elsewhere = self.elsewhere.get().filter(|_| session.is_none() && environment.is_none());
        // Secrets are on the machine that keeps them.
        let elsewhere =
            elsewhere.filter(|_| spec.egress.as_ref().is_none_or(|egress| egress.secrets.is_empty()));
        if elsewhere.is_some() && names_python && spec.python.is_none() {
            // The usual one of another machine may be another.
            spec.python = self.machine.installer().pythons().own_version().map(str::to_owned);
        }
        match elsewhere {
            Some(elsewhere) => elsewhere.room(&tenant, share, everywhere),
            None => self.machine.room(tenant.as_str(), share).map_err(|full| full.to_string()),
        }
        .map_err(|full| Problem::too_many(full, RETRY_AFTER_S))?;
        timeline.iter_mut().for_each(|timeline| timeline.mark("admission"));
        let checked = self.judged(&tenant, (&verdicts, review), &spec, &mut timeline).await?;
        let mut refused = None;
        if !checked.denied {
            spec.environment = match (environment, &session) {
                (Some(installed), _) => Some(installed),
                (None, Some(bound)) => self.install_in((&tenant, bound), &mut spec, needs).await?,
                (None, None) => self.install(&tenant, Over::from(&spec), &needs).await?,
            };
            let built = timeline.iter_mut().filter(|_| spec.environment.is_some());
            built.for_each(|timeline| timeline.mark(PACKAGE_BUILD));
            if elsewhere.is_none() && session.is_none() {
                refused = self.compile(&tenant, &mut spec, timeline.as_mut()).await?;
            }
        }
        let id = RunId::from_random(sys::fs::random().map_err(|error| internal(error.to_string()))?);
        let created_at = worker::run::now();
        let run = NewRun {
            id: id.clone(),
            tenant: tenant.clone(),
            created_at_ms: now_ms(),
            language: spec.language,
            request: text,
            metadata,
            session: session.as_ref().map(|bound| bound.id().to_string()),
            batch,
            trace: timeline.as_ref().map(|timeline| timeline.begun(&self.traces, spec.language, &spec.code)),
            idempotency,
        };
        let order = Order { id, created_at, spec, allow_missing: self.allow_missing() };
        if checked.denied || refused.is_some() {
            let result = self.unrun(order, checked, refused);
            return self.settle_unrun(run, result, timeline, judge).await;
        }
        let live = LiveRun::new(tenant.clone(), judge);
        live.noticed(checked.findings.clone());
        live.traced(timeline.clone());
        let wanted = elsewhere.map(|_| wanted.within(everywhere));
        if run.idempotency.is_none() {
            let place = (share, session, wanted);
            return self.clone().taken_in(run, order, place, live, told_late).await;
        }
        let mut again = 0..REPETITIONS;
        loop {
            let live = LiveRun::new(tenant.clone(), None);
            live.noticed(checked.findings.clone());
            live.traced(timeline.clone());
            let place = (share, session.clone(), wanted.clone());
            let submitted = self.clone().taken_in(run.clone(), order.clone(), place, live, false).await?;
            let Submitted::Replayed(before) = &submitted else { return Ok(submitted) };
            if let Some(live) = self.live.get(before.as_str()) {
                // That one may not be taken in after all.
                live.taken_in().await?;
                return Ok(submitted);
            }
            // If it is not there, it was deleted long ago, or refused in this very moment: then its key is free again.
            if self.is_recorded(&tenant, before).await? || again.next().is_none() {
                return Ok(submitted);
            }
        }
    }

    /// As [`Service::take_in`], in a task of its own: a client that breaks off in the middle leaves nothing half done.
    async fn taken_in(
        self: Arc<Self>,
        run: NewRun,
        order: Order,
        place: Place,
        live: Arc<LiveRun>,
        told_late: bool,
    ) -> Result<Submitted, Problem> {
        let taking = tokio::spawn(self.take_in(run, order, place, live, told_late));
        taking.await.map_err(|error| internal(error.to_string()))?
    }

    async fn is_recorded(&self, tenant: &TenantId, id: &RunId) -> Result<bool, Problem> {
        let (scope, id) = (Scope::Tenant(tenant.clone()), id.clone());
        Ok(read(&self.reader, move |reader| reader.run(&scope, &id)).await?.is_some())
    }

    /// Records a run, queues it and has it followed.
    async fn take_in(
        self: Arc<Self>,
        run: NewRun,
        order: Order,
        place: Place,
        live: Arc<LiveRun>,
        told_late: bool,
    ) -> Result<Submitted, Problem> {
        let id = run.id.clone();
        // Before it is recorded: who repeats the request finds it from then on.
        self.live.insert(id.as_str(), live.clone());
        // What others have is known after our end, too.
        let queued = if told_late && place.2.is_none() {
            self.queue_first(run, order, &place)
        } else {
            self.queue(run, order, &place).await
        };
        match queued {
            Ok(Queued::New(way, unrecorded)) => {
                live.can_be_cancelled_by(way.canceller());
                let news = place.1.as_ref().and_then(Bound::take_news);
                news.into_iter().for_each(|news| live.push("reopened", news));
                live.is_taken_in();
                let busy = place.1.map(Bound::busy);
                tokio::spawn(self.clone().follow(id.clone(), live.clone(), way, unrecorded, busy));
                Ok(Submitted::New { id, live })
            }
            // Nobody else knows of this one.
            Ok(Queued::Before(first)) => {
                self.live.remove(id.as_str());
                Ok(Submitted::Replayed(first))
            }
            Err(problem) => {
                live.fail(problem.clone());
                live.finish();
                self.live.remove(id.as_str());
                Err(problem)
            }
        }
    }

    async fn queue(&self, run: NewRun, order: Order, place: &Place) -> Result<Queued, Problem> {
        let (id, tenant) = (run.id.clone(), run.tenant.clone());
        let key = run.idempotency.as_ref().map(|idempotency| idempotency.key.clone());
        if let Admission::Replayed(first) = self.store.admit(run).await? {
            return Ok(Queued::Before(first));
        }
        match self.hand_over(&tenant, order, place) {
            Ok(way) => {
                self.tell_trace(&id, false);
                Ok(Queued::New(way, None))
            }
            // The last room was taken while the run was written down: it is as if it had not been.
            Err(full) => {
                if let Err(error) = self.store.withdraw(&id, key.as_deref()).await {
                    worker::log::warn(format_args!("{id}: take back its record: {error}"));
                }
                Err(Problem::too_many(full, RETRY_AFTER_S))
            }
        }
    }

    /// Queues a run that is to be recorded when it is settled, or has gone on for a while.
    fn queue_first(&self, run: NewRun, order: Order, place: &Place) -> Result<Queued, Problem> {
        let way = self.hand_over(&run.tenant, order, place);
        let way = way.map_err(|full| Problem::too_many(full, RETRY_AFTER_S))?;
        Ok(Queued::New(way, Some(Box::new(Unrecorded { run, started_at_ms: None }))))
    }

    /// Follows a run to its end.
    pub(crate) async fn follow(
        self: Arc<Self>,
        id: RunId,
        live: Arc<LiveRun>,
        mut way: Way,
        mut unrecorded: Option<Box<Unrecorded>>,
        busy: Option<Busy>,
    ) {
        let mut patience = std::pin::pin!(tokio::time::sleep(UNRECORDED));
        loop {
            let event = tokio::select! {
                event = way.next() => event,
                () = &mut patience, if unrecorded.is_some() => {
                    if let Some(run) = unrecorded.take() {
                        self.write_down(&id, &live, *run).await;
                    }
                    continue;
                }
            };
            match event {
                Some(Event::Started) => {
                    live.has_started();
                    live.push("started", json!({}));
                    match &mut unrecorded {
                        Some(unrecorded) => unrecorded.started_at_ms = Some(now_ms()),
                        None => self.write_start(&id, now_ms()).await,
                    }
                }
                Some(Event::Output(stream, bytes)) => live.output(stream, &bytes),
                Some(Event::Egress(attempt)) => {
                    live.tried();
                    live.push("egress", json!(attempt));
                }
                Some(Event::Measured(measured)) => live.measured(measured),
                Some(Event::Settled(result)) => self.settle(&id, &live, *result, unrecorded.take()).await,
                None => break,
            }
        }
        way.recorded().await;
        // From now on its session may be idle.
        drop(busy);
        self.live.remove(id.as_str());
    }
}

/// How often a request is tried again whose key was claimed by one that was refused meanwhile.
const REPETITIONS: usize = 3;

/// What a client that found the queue full is told to wait.
const RETRY_AFTER_S: u64 = 1;

/// A failure of ours that has no better word.
pub fn internal(message: String) -> Problem {
    Fault::new(FaultCode::Internal, message).into()
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
