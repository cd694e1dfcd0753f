//! What is left of sessions that ended: their files for a while, and their records.

use crate::problem::{Kind, Problem};
use crate::service::{Service, internal, now_ms, read};
use model::{SessionId, TenantId};
use store::{Actor, Scope, SessionEnd};
use worker::session::{Why, Workspace, archive};

/// Most sessions whose end is looked after in one step of housekeeping.
const STEP: u32 = 200;

impl Service {
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
                };
                self.store.end_session(&row.id, end, Actor::Local).await?;
                count += 1;
            }
        }
    }

    /// Removes files of sessions that ended long ago, and then their records.
    pub async fn clear_sessions(&self) -> Result<(), Problem> {
        let old = read(&self.reader, |reader| reader.sessions_to_clear(now_ms(), STEP)).await?;
        for id in old {
            let directory = self.sessions.saved(&id);
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
            match removed {
                Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    eprintln!("fireclay: {id}: remove its files: {error}");
                }
                _ => self.store.forget_session_files(&id).await?,
            }
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
