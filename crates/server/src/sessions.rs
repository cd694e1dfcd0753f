//! Sessions that are open: whose they are, how long they stay, and how they end. What runs in them goes the way of all runs.

use crate::needs::Needs;
use crate::ports::{Base, Doors};
use crate::problem::Problem;
use crate::service::{Service, draining, internal, now_ms};
use crate::traces::{Beginning, Origin, PACKAGE_BUILD, Timeline};
use model::{Language, Limits, Priority, Rejection, RunRequest, RunSpec, SessionId, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use store::{Actor, NewSession, TraceKind};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use worker::installer::Over;
use worker::session::{Session, Standing, Why};

mod afterwards;
mod asked;
mod bound;
mod durable;
mod ends;
mod manner;
mod pressure;

pub use asked::{Again, NewOpen};
pub use bound::{Bound, Busy};
pub use durable::{Durable, Keeping, Reopened};
pub use ends::Ends;
pub use manner::Manner;

/// Longest idle time to live that a session may ask for, in milliseconds.
const IDLE_TTL_MS_MAX: u64 = 24 * 3_600_000;
/// How many sessions' files are saved at once.
const SAVING_MAX: usize = 4;
/// How many watch one session's files at once.
const WATCHES_MAX: usize = 8;

/// A session that is open.
#[derive(Debug)]
pub struct OpenSession {
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// What its sandbox is made from.
    pub template: String,
    /// What the machine calls that.
    pub reference: String,
    /// The language of runs that name none.
    pub language: Language,
    /// The packages that it was opened with.
    pub packages: Vec<String>,
    /// Whether its runs have what they import, too.
    pub auto_packages: bool,
    /// The version of its Python, if that is not the image's.
    pub python: Option<String>,
    /// The hosts that what runs in it may reach, as they were allowed.
    pub hosts: Vec<String>,
    /// The layers that lie in it.
    laid: Mutex<BTreeSet<String>>,
    /// What it may use.
    pub limits: Limits,
    /// Which of the tenant's runs its own come before.
    pub priority: Priority,
    /// When it was opened, milliseconds since 1970.
    pub created_at_ms: i64,
    /// The sandbox.
    pub session: Session,
    clock: Mutex<Clock>,
    /// Told when the clock was changed.
    changed: Notify,
    /// Whether its end is recorded and its files are saved.
    buried: watch::Sender<bool>,
    /// Who closed it, for the audit log.
    closed_by: Mutex<Option<Actor>>,
    /// For those who watch its files.
    pub watching: Arc<Semaphore>,
    /// Whether what listens in it may be visited.
    pub ports: bool,
    /// By which browsers get there.
    pub doors: Doors,
    /// What makes it outlive its node, if it does.
    pub durable: Option<Durable>,
}

/// When a session is to end.
#[derive(Debug)]
struct Clock {
    idle_ttl: Duration,
    expires: Instant,
    /// Runs that wait or are on their way.
    busy: usize,
    /// When the last of them was over.
    idle_since: Instant,
    /// How many runs it has had.
    runs: u64,
}

/// What a clock says to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long it stays when nothing runs, in milliseconds.
    pub idle_ttl_ms: u64,
    /// When it ends at the latest, milliseconds since 1970.
    pub expires_at_ms: i64,
    /// When it ends if nothing happens any more.
    pub ends_at_ms: i64,
}

impl OpenSession {
    /// The layers that lie in it.
    fn laid(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.laid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it ends if nothing happens, and why.
    fn due(&self) -> (Instant, Why) {
        let clock = self.clock();
        let idle = clock.idle_since + clock.idle_ttl;
        if clock.busy == 0 && idle < clock.expires {
            (idle, Why::Idle)
        } else {
            (clock.expires, Why::Expired)
        }
    }

    /// What its clock says.
    pub fn times(&self) -> Times {
        let (due, _) = self.due();
        let clock = self.clock();
        let at = |instant: Instant| {
            let left = instant.saturating_duration_since(Instant::now());
            now_ms().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
        };
        Times {
            idle_ttl_ms: clock.idle_ttl.as_millis() as u64,
            expires_at_ms: at(clock.expires),
            ends_at_ms: at(due),
        }
    }

    /// Somebody uses it: its idle time begins anew.
    pub fn is_used(&self) {
        self.clock().idle_since = Instant::now();
        self.changed.notify_one();
        self.touch();
    }

    /// Whether runs of it wait or are on their way.
    pub fn is_busy(&self) -> bool {
        self.clock().busy > 0
    }

    /// Its files, or its times, may have changed.
    pub fn touch(&self) {
        self.durable.iter().for_each(Durable::touch);
    }

    /// Returns when its end is recorded.
    pub async fn is_buried(&self) {
        // The sender lives as long as the session, so this never fails.
        drop(self.buried.subscribe().wait_for(|buried| *buried).await);
    }

    fn closed_by(&self) -> MutexGuard<'_, Option<Actor>> {
        self.closed_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it time from now on.
    fn renew(&self, idle_ttl: Option<Duration>, ttl: Duration) {
        let mut clock = self.clock();
        clock.idle_ttl = idle_ttl.unwrap_or(clock.idle_ttl);
        clock.expires = Instant::now() + ttl;
        clock.idle_since = Instant::now();
        drop(clock);
        self.changed.notify_one();
        self.touch();
    }
}

/// The directory of `/tmp` for packages that were installed in a session after it was opened.
pub const PLACE: &str = ".packages";

fn reject(field: &str, message: &str, hint: &str) -> Problem {
    Problem::from(Rejection::new(field, message, hint))
}

/// All that are open.
#[derive(Debug)]
pub struct Sessions {
    open: Mutex<BTreeMap<SessionId, Arc<OpenSession>>>,
    /// Whose are on their way in.
    opening: Mutex<BTreeMap<TenantId, usize>>,
    /// For those whose files are being saved.
    saving: Semaphore,
    /// Told when the last one was forgotten.
    emptied: Notify,
    /// Where files wait after the end.
    directory: PathBuf,
    /// How their ports are reached, once somebody listens.
    pub ports: OnceLock<Base>,
    /// Where their ends are told, if other nodes want to know.
    pub ends: OnceLock<Ends>,
    /// Who saves files of those that are durable, if somebody does.
    pub keeping: OnceLock<Keeping>,
}

impl Sessions {
    /// None yet.
    pub fn new(directory: PathBuf) -> Self {
        let (open, opening) = (Mutex::default(), Mutex::default());
        let (saving, emptied) = (Semaphore::new(SAVING_MAX), Notify::new());
        let (ports, ends, keeping) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { open, opening, saving, emptied, directory, ports, ends, keeping }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<OpenSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of this tenant's.
    pub fn get(&self, tenant: &TenantId, id: &SessionId) -> Option<Arc<OpenSession>> {
        self.open().get(id).filter(|open| open.tenant == *tenant).cloned()
    }

    /// One of anybody's: for those who prove in another way that they may.
    pub fn find(&self, id: &SessionId) -> Option<Arc<OpenSession>> {
        self.open().get(id).cloned()
    }

    /// Takes a place for one more, if no more than so many are open or on their way, of this tenant and of all.
    fn enter(&self, tenant: &TenantId, own_max: usize, all_max: usize) -> Result<Opening<'_>, Problem> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = {
            let open = self.open();
            (open.len(), open.values().filter(|one| one.tenant == *tenant).count())
        };
        let all = all + opening.values().sum::<usize>();
        let own = own + opening.get(tenant).copied().unwrap_or(0);
        if own >= own_max || all >= all_max {
            let detail = format!("{own} sessions are open; more are not allowed at once");
            return Err(Problem::too_many(detail, 60));
        }
        *opening.entry(tenant.clone()).or_default() += 1;
        Ok(Opening { sessions: self, tenant: tenant.clone() })
    }

    /// Ends all: nobody waits for what follows.
    pub fn end_all(&self, detail: &str) {
        self.end_all_as(Why::ServiceRestarted, detail);
    }

    /// Ends all for this reason.
    pub fn end_all_as(&self, why: Why, detail: &str) {
        for open in self.open().values() {
            open.session.end(why, detail);
        }
    }

    /// Returns when none is open and the files of all are saved.
    pub async fn empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            // Registered before the look, so that no change falls between.
            emptied.as_mut().enable();
            if self.open().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn forget(&self, id: &SessionId) {
        let mut open = self.open();
        open.remove(id);
        if open.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Where the files of all sessions wait that ended.
    fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the files of a session wait that ended.
    fn saved(&self, id: &SessionId) -> PathBuf {
        self.directory.join(id.as_str())
    }
}

/// A place for a session on its way in.
struct Opening<'a> {
    sessions: &'a Sessions,
    tenant: TenantId,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut opening = self.sessions.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = opening.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                opening.remove(&self.tenant);
            }
        }
    }
}

impl Service {
    /// Opens a session: recorded, and built, when this returns.
    pub async fn open_session(self: &Arc<Self>, new: NewOpen) -> Result<Arc<OpenSession>, Problem> {
        if self.is_draining() {
            return Err(draining());
        }
        if new.ports && self.settings.ports.listen.is_none() {
            let hint = "leave it out; or whoever runs the service sets `ports.listen`";
            return Err(reject("ports", "this service serves no ports", hint));
        }
        let durable = self.durable_of(&new)?;
        let (own_max, all_max) = (self.settings.tenant.sessions, self.settings.session.max);
        let opening = self.sessions.enter(&new.tenant, own_max, all_max)?;
        let reference = self.machine.templates().for_tenant(new.tenant.as_str(), &new.template);
        let template = self.machine.templates().find(&reference)?;
        let own = template.languages.first().map(|row| row.name);
        let own = own.ok_or_else(|| internal("a template runs nothing".to_owned()))?;
        let language = new.language.unwrap_or(own);
        let policy = self.policy_of(&new.tenant).await?;
        if own.is_declared() {
            let message = format!("no interpreter of {own} stays in a session");
            return Err(reject("template", &message, "submit runs of it, each in a fresh sandbox"));
        }
        // By a run that is not run: what it refuses, the session's runs would be refused for.
        let trial = RunRequest {
            language: Some(own),
            template: Some(new.template.clone()),
            env: new.env.clone(),
            limits: new.limits,
            egress: new.egress,
            python: new.python,
            ..RunRequest::default()
        };
        let trial = self.machine.templates().fill(new.tenant.as_str(), trial);
        let mut spec = RunSpec::admit(trial, &policy)?;
        spec.template.clone_from(&reference);
        spec.python = self.have_python(&spec).await?;
        self.machine.check(new.tenant.as_str(), &spec)?;
        // Once it is known to be possible, as a run.
        self.quotas.spend(&new.tenant)?;
        let needs = Needs::of_list(&new.packages, own)?.only_there(new.offline);
        let mut before = Timeline::begin(&self.traces, Origin::Caller(new.trace));
        spec.environment = self.install(&new.tenant, Over::from(&spec), &needs).await?;
        before.iter_mut().filter(|_| spec.environment.is_some()).for_each(|one| one.mark(PACKAGE_BUILD));
        let id = match &new.again {
            Some(again) => self.opened_again(again).await?,
            None => SessionId::from_random(sys::fs::random().map_err(|error| internal(error.to_string()))?),
        };
        let missing = new.allow_missing.unwrap_or_else(|| self.allow_missing());
        let session =
            self.machine.open_session(id.clone(), (new.tenant.as_str(), &spec), new.background, missing);
        let session = session?;
        if let Err(problem) = has_language(&session, language) {
            session.end(Why::Closed, "");
            return Err(problem);
        }
        let created_at_ms = new.again.as_ref().map_or_else(now_ms, |again| again.created_at_ms);
        let now = Instant::now();
        let settings = &self.settings.session;
        let idle_ttl_ms = new.idle_ttl_ms.unwrap_or(settings.idle_ttl_ms).min(IDLE_TTL_MS_MAX);
        let ttl_ms = new.ttl_ms.unwrap_or(settings.ttl_ms).min(settings.ttl_ms);
        let open = Arc::new(OpenSession {
            tenant: new.tenant.clone(),
            name: new.name.clone(),
            template: new.template,
            language,
            packages: new.packages,
            auto_packages: new.auto_packages,
            python: spec.python,
            hosts: spec.egress.map(|egress| egress.allow).unwrap_or_default(),
            reference,
            laid: Mutex::default(),
            limits: spec.limits,
            priority: new.priority,
            created_at_ms,
            session,
            clock: Mutex::new(Clock {
                idle_ttl: Duration::from_millis(idle_ttl_ms),
                expires: now + Duration::from_millis(ttl_ms),
                busy: 0,
                idle_since: now,
                runs: 0,
            }),
            changed: Notify::new(),
            buried: watch::channel(false).0,
            closed_by: Mutex::default(),
            watching: Arc::new(Semaphore::new(WATCHES_MAX)),
            ports: new.ports,
            doors: Doors::default(),
            durable,
        });
        self.sessions.open().insert(id.clone(), open.clone());
        drop(opening);
        let record = NewSession {
            id: id.clone(),
            tenant: new.tenant,
            name: new.name,
            created_at_ms,
            request: new.request,
        };
        let recorded = match new.again {
            Some(_) => self.store.reopen_session(record, now_ms(), new.actor).await,
            None => self.store.open_session(record, new.actor).await,
        };
        if let Err(error) = recorded {
            open.session.end(Why::Closed, "it could not be recorded");
            self.sessions.forget(&id);
            return Err(error.into());
        }
        let named = format!("session {}", open.name);
        let began = Beginning {
            kind: TraceKind::Session,
            object: id.as_str(),
            name: named.trim_end(),
            input: "",
            model: None,
            parent: new.trace,
            before: before.as_ref(),
        };
        self.begin_trace(&open.tenant, began).await;
        tokio::spawn(self.clone().tend(open.clone()));
        match open.session.built().await {
            Standing::Ended(ended) if ended.why == Why::NotBuilt => {
                Err(Problem::from(model::Fault::new(model::FaultCode::IsolationFailed, ended.detail)))
            }
            _ => {
                if let (Some(keeping), Some(_)) = (self.sessions.keeping.get(), &open.durable) {
                    keeping.begin(&open);
                }
                Ok(open)
            }
        }
    }

    /// Looks after a session to its end.
    async fn tend(self: Arc<Self>, open: Arc<OpenSession>) {
        let ended = loop {
            let (due, why) = open.due();
            tokio::select! {
                ended = open.session.ended() => break ended,
                () = tokio::time::sleep_until(due) => {
                    // It may have been renewed or used in this moment.
                    if open.due() == (due, why) {
                        open.session.end(why, afterwards::detail_of(why, &open));
                    }
                }
                () = open.changed.notified() => {}
            }
        };
        self.bury(&open, ended).await;
    }

    /// Gives a session time from now on: another idle time if it is named, and so much in all.
    pub fn renew_session(&self, open: &OpenSession, idle_ttl_ms: Option<u64>, ttl_ms: Option<u64>) {
        let most = self.settings.session.ttl_ms;
        let idle = idle_ttl_ms.map(|ms| Duration::from_millis(ms.min(IDLE_TTL_MS_MAX)));
        open.renew(idle, Duration::from_millis(ttl_ms.unwrap_or(most).min(most)));
    }

    /// Ends a session; its end is recorded when this returns.
    pub async fn close_session(&self, open: &OpenSession, by: Actor) {
        open.closed_by().get_or_insert(by);
        open.session.end(Why::Closed, "");
        open.is_buried().await;
    }
}

/// Whatever its template says, a session runs all that its image has.
fn has_language(session: &Session, language: Language) -> Result<(), Problem> {
    match session.shape().shape.image.interpreter(language) {
        Some(_) => Ok(()),
        None => {
            let message = format!("the image has no interpreter for {language}");
            Err(reject("language", &message, "use one that it has: `fireclay image list` shows them"))
        }
    }
}
