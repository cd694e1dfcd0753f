//! What is left of sessions that ended: their files for a while, and their records.

use super::{Again, Durable, NewOpen, OpenSession, reject};
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal, now_ms, read};
use model::{RunId, SessionId, TenantId};
use std::path::Path;
use std::sync::Arc;
use store::{Actor, Idempotency, Scope, SessionEnd};
use worker::session::archive::{self, Saved};
use worker::session::{Ended, Session, Why, Workspace};

/// Most sessions whose end is looked after in one step of housekeeping.
const STEP: u32 = 200;
/// How much of why a session ended is recorded.
const DETAIL_CHARS: usize = 1_024;

impl Service {
    /// Saves the files of a session that ended, and records its end.
    pub(super) async fn bury(&self, open: &Arc<OpenSession>, ended: Ended) {
        let id = open.session.id().clone();
        if let (Some(durable), Why::ServiceRestarted) = (&open.durable, ended.why)
            && let Err(failure) = durable.save().await
        {
            worker::log::warn(format_args!("{id}: save its files for who has it next: {failure}"));
        }
        let (session, directory) = (open.session.clone(), self.sessions.saved(&id));
        let room = open.limits.disk_bytes.min(self.settings.session.files_bytes);
        let saving = {
            // The semaphore is never closed. A few at a time, whatever ends at once: the disk is everybody's.
            let _turn = self.sessions.saving.acquire().await.ok();
            tokio::task::spawn_blocking(move || save(&session, &directory, room)).await
        };
        let at_ms = now_ms();
        let keep_ms = i64::try_from(self.settings.session.keep_files_ms).unwrap_or(i64::MAX);
        let kept = saving.map_err(|error| error.to_string()).and_then(|saved| saved);
        let (files, more) = match kept {
            Ok(Some(Saved { skipped: 0, taken, .. })) => (Some(taken), String::new()),
            Ok(Some(Saved { skipped, taken, .. })) => {
                (Some(taken), format!("; {skipped} of its files could not be kept"))
            }
            Ok(None) => (None, String::new()),
            Err(error) => (None, format!("; its files could not be kept: {error}")),
        };
        open.session.let_files_go();
        let Ended { why, detail } = ended;
        let detail = detail.chars().take(DETAIL_CHARS).collect::<String>() + &more;
        let end = SessionEnd {
            at_ms,
            why: why.name().to_owned(),
            detail,
            files_until_ms: files.map(|_| at_ms.saturating_add(keep_ms)),
            files_bytes: files.unwrap_or(0),
        };
        let outcome = end.why.clone();
        let closed_by = open.closed_by().take().filter(|_| why == Why::Closed);
        if let Some(ends) = self.sessions.ends.get() {
            ends.tell(id.clone(), open.durable.as_ref().map_or(0, |durable| durable.epoch), end.clone());
        }
        if let Err(error) = self.store.end_session(&id, end, closed_by.unwrap_or(Actor::Local)).await {
            worker::log::warn(format_args!("{id}: record its end: {error}"));
        }
        self.end_plain_trace(&open.tenant, id.as_str(), &outcome).await;
        if let Err(problem) = self.bound_session_files().await {
            worker::log::warn(format_args!("remove files of old sessions: {problem}"));
        }
        self.sessions.forget(&id);
        open.buried.send_replace(true);
    }

    /// The run that this key stands for, if it does and for the same request.
    pub async fn run_of_key(
        &self,
        tenant: &TenantId,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<RunId>, Problem> {
        let Some(idempotency) = idempotency else { return Ok(None) };
        let tenant = tenant.clone();
        read(&self.reader, move |reader| reader.run_of_key(&tenant, &idempotency, now_ms())).await
    }

    /// Records the end of sessions that were open when the service before this one died: nothing of them is left.
    pub async fn end_orphans(&self) -> Result<usize, Problem> {
        let mut count = 0;
        loop {
            let page = store::Page::default();
            let found = read(&self.reader, move |reader| reader.sessions(&Scope::Admin, Some(true), &page));
            let found = found.await?.items;
            if found.is_empty() {
                return Ok(count);
            }
            for row in found {
                let end = SessionEnd {
                    at_ms: now_ms(),
                    why: Why::ServiceRestarted.name().to_owned(),
                    detail: "the service died; the session's files were in memory and went with it"
                        .to_owned(),
                    files_until_ms: None,
                    files_bytes: 0,
                };
                self.store.end_session(&row.id, end, Actor::Local).await?;
                count += 1;
            }
        }
    }

    /// What makes a new session durable, if it is to be.
    pub(super) fn durable_of(&self, new: &NewOpen) -> Result<Option<Durable>, Problem> {
        if !new.durable {
            return Ok(None);
        }
        let Some(keeping) = self.sessions.keeping.get() else {
            let hint = "leave it out; or start the service with `--cluster`, whose bus keeps the files (docs/cluster.md)";
            return Err(reject(
                "durable",
                "this service is in no cluster, and nobody would have its files",
                hint,
            ));
        };
        if new.ports {
            let message = "a session whose ports are visited stays on its gateway";
            return Err(reject("durable", message, "leave out `ports` or `durable`"));
        }
        let (epoch, reopened) =
            new.again.as_ref().map_or((0, None), |again| (again.epoch, Some(again.reopened.clone())));
        Ok(Some(Durable::new(keeping.node.clone(), epoch, reopened)))
    }

    /// The id of a session that is opened again, of which nothing is left here from before.
    pub(super) async fn opened_again(&self, again: &Again) -> Result<SessionId, Problem> {
        if let Some(before) = self.sessions.find(&again.id) {
            before.session.end(Why::NodeLost, "it is reopened");
            before.is_buried().await;
        }
        if !self.clear_files(&again.id).await? {
            return Err(internal("files of the session of before cannot be removed".to_owned()));
        }
        Ok(again.id.clone())
    }

    /// Removes saved files that no record speaks of: of sessions whose end was not recorded. To be called before any session is opened.
    pub async fn clear_strays(&self) -> Result<(), Problem> {
        let directory = self.sessions.directory().to_owned();
        let names = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<_>> {
            match std::fs::read_dir(directory) {
                Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        });
        let paths = names.await.map_err(|error| internal(error.to_string()))?;
        for path in paths.map_err(|error| internal(error.to_string()))? {
            let id: Option<SessionId> = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // What is not named as ours is not ours.
            let Some(id) = id else { continue };
            let row = read(&self.reader, move |reader| reader.session(&Scope::Admin, &id)).await?;
            if row.is_none_or(|row| row.end.is_none_or(|end| end.files_until_ms.is_none())) {
                let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
                if let Ok(Err(error)) = removed {
                    worker::log::warn(format_args!("remove files of a session without a record: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Removes saved files, those that would go first anyway, until all take no more than they may.
    pub async fn bound_session_files(&self) -> Result<(), Problem> {
        let most = self.settings.session.files_bytes;
        loop {
            let looked = read(&self.reader, move |reader| {
                let taken = reader.session_files_bytes()?;
                Ok((taken, reader.sessions_to_clear(i64::MAX, 1)?.pop()))
            });
            match looked.await? {
                (taken, Some(oldest)) if taken > most => {
                    if !self.clear_files(&oldest).await? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Removes the saved files of a session; says whether they are gone.
    async fn clear_files(&self, id: &SessionId) -> Result<bool, Problem> {
        let directory = self.sessions.saved(id);
        match tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                worker::log::warn(format_args!("{id}: remove its files: {error}"));
                Ok(false)
            }
            _ => self.store.forget_session_files(id).await.map(|()| true).map_err(Problem::from),
        }
    }

    /// Removes files of sessions that ended long ago, and then their records.
    pub async fn clear_sessions(&self) -> Result<(), Problem> {
        let old = read(&self.reader, |reader| reader.sessions_to_clear(now_ms(), STEP)).await?;
        for id in old {
            self.clear_files(&id).await?;
        }
        let age = i64::try_from(self.settings.retention.age_ms).unwrap_or(i64::MAX);
        self.store.remove_sessions(now_ms().saturating_sub(age).max(0), STEP).await?;
        Ok(())
    }

    /// The files of a session: as they are now, or as they were saved at its end.
    pub async fn session_files(&self, tenant: &TenantId, id: &SessionId) -> Result<Workspace, Problem> {
        let not_found = || Problem::not_found("session", id.as_str());
        if let Some(open) = self.sessions.get(tenant, id) {
            open.session.built().await;
            if let Some(files) = open.session.files()? {
                return Ok(files);
            }
        }
        let (scope, wanted) = (Scope::Tenant(tenant.clone()), id.clone());
        let row = read(&self.reader, move |reader| reader.session(&scope, &wanted)).await?;
        let row = row.ok_or_else(not_found)?;
        let directory = self.sessions.saved(&row.id);
        let saved = tokio::task::spawn_blocking(move || archive::saved(&directory)).await;
        let saved = saved.map_err(|error| internal(error.to_string()))?;
        saved.map_err(|error| internal(error.to_string()))?.ok_or_else(|| {
            let hint = "GET the session says why it ended and until when its files were kept";
            Problem::new(Kind::NotFound, "the session has ended and its files are gone", hint)
        })
    }
}

/// What is said of an end by the clock.
pub(super) fn detail_of(why: Why, open: &OpenSession) -> String {
    let times = open.times();
    match why {
        Why::Idle => format!("nothing ran in it for {} ms", times.idle_ttl_ms),
        _ => String::new(),
    }
}

/// Saves files; `None` if there are none to save. Of what cannot be saved nothing is left.
fn save(session: &Session, directory: &Path, room: u64) -> Result<Option<Saved>, String> {
    let files = session.files().map_err(|fault| fault.to_string())?;
    let Some(files) = files else { return Ok(None) };
    archive::save(&files, directory, room).map(Some).map_err(|error| {
        match std::fs::remove_dir_all(directory) {
            Err(other) if other.kind() != std::io::ErrorKind::NotFound => {
                format!("{error}; and what was kept of them could not be removed: {other}")
            }
            _ => error.to_string(),
        }
    })
}
