//! What was told while a run ran, kept to be told again after it settled.

use crate::columns::{from_json, to_json};
use crate::limits::EVENTS_BYTES_MAX;
use crate::texts::unpack;
use crate::{Reader, Scope, StoreError, runs};
use model::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Its place among the run's events; ascending.
    pub seq: u64,
    /// What kind: `stdout`, `started`, …
    pub kind: String,
    /// What it says.
    pub data: Value,
}

impl Reader {
    /// The events of a run with a `seq` above `after`, in order; empty until it is settled. `None` if it is not in the scope.
    pub fn events(
        &self,
        scope: &Scope,
        id: &RunId,
        after: Option<u64>,
    ) -> Result<Option<Vec<RunEvent>>, StoreError> {
        self.read("read events", |db| {
            let Some(run) = runs::read::seq(db, scope, id)? else { return Ok(None) };
            let mut statement = db.prepare_cached("SELECT text FROM events WHERE run = ?")?;
            let mut rows = statement.query([run])?;
            let text = match rows.next()? {
                Some(row) => unpack(row.get_ref(0)?, "the events of a run", EVENTS_BYTES_MAX)?,
                None => None,
            };
            let mut events = text.map_or(Ok(Vec::new()), |text| from_text(&text))?;
            events.retain(|event| after.is_none_or(|after| event.seq > after));
            Ok(Some(events))
        })
    }
}

/// Writes events as one list of `[seq, kind, data]`; `None` for none. Fails if they are not in order.
pub(crate) fn to_text(events: &[RunEvent], max: usize) -> Result<Option<String>, StoreError> {
    if !events.is_sorted_by(|one, next| one.seq < next.seq) {
        return Err(StoreError::Invalid { what: "events are told in the order of their numbers" });
    }
    let rows: Vec<_> = events.iter().map(|event| (event.seq, &event.kind, &event.data)).collect();
    if rows.is_empty() { Ok(None) } else { to_json(&rows, "events", max).map(Some) }
}

fn from_text(text: &str) -> Result<Vec<RunEvent>, StoreError> {
    let rows: Vec<(u64, String, Value)> = from_json(text, "the events of a run")?;
    Ok(rows.into_iter().map(|(seq, kind, data)| RunEvent { seq, kind, data }).collect())
}
