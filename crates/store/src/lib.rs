//! The record of everything fireclay does: runs, their events and artifacts, batches, tasks, keys, tenants, usage and the audit log.
//!
//! One SQLite file and a directory of artifact contents below the data directory. No HTTP, no policy, no clock, no randomness:
//! times (`…_ms`, milliseconds since 1970) and random bytes are arguments. SQL does not leave this crate.
//!
//! # Writing
//!
//! [`Store`] is a cheap handle. Every change is a method that returns a [`Write`]: `.await` it in async code, or `.wait()` for
//! it in a thread. When it answers `Ok`, the change survives a `kill -9` of this process ([`Durability::Commit`]) or also a loss
//! of power ([`Durability::Fsync`]). Writes that wait together share one commit.
//!
//! ```text
//! Store::open(&Path, Options) -> Result<Store, StoreError>              blocks; one owner per data directory
//!
//! store.admit(NewRun)                                -> Write<Admission>      before the 2xx leaves
//! store.withdraw(&RunId, Option<&str>)               -> Write<()>             it was queued nowhere: as if never admitted
//! store.started(&RunId, at_ms)                       -> Write<()>
//! store.settle(&RunId, Settlement)                   -> Write<()>             with usage and the batch's counters
//! store.record(NewRun, started_at_ms, Settlement)    -> Write<Admission>      admit and settle in one transaction
//! store.delete_run(Scope, &RunId, Actor, at_ms)      -> Write<()>             settled ones only; audited
//! store.interrupt_unfinished(at_ms)                  -> Write<Vec<RunId>>     once at start: what the predecessor left
//! store.interrupt_unfinished_but(at_ms, elsewhere)   -> Write<Vec<RunId>>     likewise, but for runs that other nodes have
//! store.stage(&mut dyn Read, bytes_max)              -> Result<Staged, _>     blocks; an artifact's content, before settle
//! store.ingest_spool(records_max, now_ms)            -> Result<Ingested, _>   blocks
//! spool::backlog(&Path, files_max)                   -> Result<Backlog, _>    blocks; what waits there; needs no store
//! spool::write(&Path, Record, Vec<ToSpool>, Durability) -> Result<(), _>      blocks; for one-shot commands, needs no store
//!
//! store.create_batch(NewBatch)                       -> Write<()>
//! store.add_batch_items(&BatchId, first, Vec<Vec<u8>>) -> Write<()>           before the batch is sealed
//! store.seal_batch(&BatchId, Option<Idempotency>, at_ms) -> Write<BatchAdmission>  no more items; before the 2xx leaves
//! store.answer_batch_item(&BatchId, index, fate, answer) -> Write<()>         with the batch's counters
//! store.end_batch(&BatchId, BatchState, summary, at_ms) -> Write<()>
//!
//! store.open_session(NewSession, Actor)              -> Write<()>             audited
//! store.end_session(&SessionId, SessionEnd, Actor)   -> Write<()>             audited
//! store.forget_session_files(&SessionId)             -> Write<()>
//! store.remove_sessions(oldest_ms, limit)            -> Write<usize>          ended ones without runs and files
//!
//! store.create_task(NewTask, Vec<TaskNews>)          -> Write<TaskAdmission>  before the 2xx leaves
//! store.ask_task(&TenantId, &TaskId, NewQuestion)    -> Write<TaskAdmission>  goes on with one that has ended
//! store.tell_task(&TaskId, TaskStep)                 -> Write<u64>            what happened, before anybody is told
//! store.remove_task(Scope, &TaskId, Actor, at_ms)    -> Write<()>             ended ones only; audited
//!
//! store.begin_trace(&TenantId, TraceKind, object, NewTrace) -> Write<()>        what a run is of a trace is in NewRun
//! store.end_trace(object, outcome, TraceEnd)         -> Write<()>
//! store.remark_trace(Scope, TraceId, Option<String>) -> Write<()>
//! store.remove_trace(Scope, TraceId, Actor, at_ms)   -> Write<()>             audited
//! store.remove_traces(Scope, Vec<TraceId>, Actor, at_ms) -> Write<Vec<TraceId>> ended ones only; audited
//! store.add_trace(ForeignTrace)                      -> Write<bool>           whether it is new
//! store.tell_span(&TenantId, id, change)             -> Write<Option<TraceId>> a span that a program tells, and tells again
//!
//! store.put_login(LoginRow, [u8; 32])                -> Write<()>             a login of the console
//! store.touch_login([u8; 32], used_ms)              -> Write<()>
//! store.end_logins(Vec<[u8; 32]>)                    -> Write<()>
//!
//! store.create_key(NewKey, [u8; KEY_RANDOM_BYTES], Actor, at_ms) -> Write<CreatedKey>   audited
//! store.revoke_key(Scope, &KeyId, Actor, at_ms)      -> Write<()>             audited; in force before it answers
//! store.verify_key(&str, now_ms)                     -> Option<Principal>     never blocks, never reads the disk
//! store.has_admin_key(now_ms), has_key(now_ms), has_made_key() -> bool        likewise
//!
//! store.put_tenant(TenantId, Quota, Actor, at_ms)    -> Write<()>             audited
//! store.audit(NewAudit)                              -> Write<u64>
//! store.retain(Retention, now_ms)                    -> Write<Retained>       one bounded step; again while `more`
//! store.probe()                                      -> Write<()>             changes nothing; says whether writing works
//! store.reader()                                     -> Reader
//! ```
//!
//! # Reading
//!
//! [`Reader`] is a cheap handle on a small pool of connections. Its methods block: call them in `spawn_blocking`. Each names a
//! [`Scope`]; what lies outside it does not exist. [`Reader::open`] reads beside the process that owns the store.
//!
//! ```text
//! reader.run(&Scope, &RunId)                         -> Option<RunRecord>
//! reader.runs(&Scope, &Filter, &Page)                -> Listed<RunRow>        newest first
//! reader.events(&Scope, &RunId, after: Option<u64>)  -> Option<Vec<RunEvent>> None: no such run
//! reader.artifacts(&Scope, &RunId)                   -> Vec<ArtifactRow>
//! reader.artifact(&Scope, &RunId, path)              -> Option<(ArtifactRow, File)>
//! reader.batch(&Scope, &BatchId)                     -> Option<BatchRow>
//! reader.batches(&Scope, &Page)                      -> Listed<BatchRow>      newest first
//! reader.batch_item(&Scope, &BatchId, index)         -> Option<BatchItem>
//! reader.batch_items(&Scope, &BatchId, &Page)        -> Listed<BatchItem>     by index
//! reader.session(&Scope, &SessionId)                 -> Option<SessionRow>
//! reader.sessions(&Scope, open: Option<bool>, &Page) -> Listed<SessionRow>    newest first
//! reader.session_counts(&SessionId)                  -> SessionCounts         of a session that was found in its scope
//! reader.sessions_to_clear(at_ms, limit)             -> Vec<SessionId>        those whose files go first
//! reader.session_files_bytes()                       -> u64
//! reader.run_of_key(&TenantId, &Idempotency, now_ms) -> Option<RunId>
//! reader.task(&Scope, &TaskId)                       -> Option<TaskRow>
//! reader.tasks(&Scope, Option<TaskState>, &Page)     -> Listed<TaskRow>       newest first
//! reader.task_events(&Scope, &TaskId, after, limit)  -> Option<Vec<TaskEvent>> None: no such task
//! reader.task_conversation(&TaskId)                  -> Option<String>
//! reader.task_of_key(&TenantId, &Idempotency, now_ms) -> Option<TaskId>        or the conflict that it is
//! reader.trace(&Scope, TraceId)                      -> Option<WholeTrace>
//! reader.trace_row(&Scope, TraceId)                  -> Option<TraceRow>
//! reader.trace_of(object)                            -> Option<TraceParent>
//! reader.traces(&Scope, &TraceFilter, &Page)         -> Listed<TraceRow>      newest first
//! reader.trace_digests(&Scope, &TraceFilter)         -> Vec<TraceDigest>      newest first
//! reader.traces_by_number(&Scope, (&TraceFilter, component), (skip, limit)) -> ToldPage
//! reader.told_spans(&TenantId, TraceId)              -> Vec<String>           as the program told them
//! reader.told_span(&Scope, id)                       -> Option<(TraceId, String)>
//! reader.told_components(&Scope)                     -> Vec<String>
//! reader.logins()                                    -> Vec<([u8; 32], LoginRow)>
//! reader.keys(&Scope, &Page)                         -> Listed<KeyRow>        never the secrets
//! reader.tenant(&TenantId)                           -> Option<TenantRow>
//! reader.tenants(&Page)                              -> Listed<TenantRow>
//! reader.usage(&Scope, from_ms, to_ms, &Page)        -> Listed<UsageRow>      oldest first
//! reader.audit(&Scope, &AuditFilter, &Page)          -> Listed<AuditRow>      newest first
//! reader.verify_audit()                              -> AuditVerdict
//! reader.sizes()                                     -> Sizes
//! ```

mod artifacts;
mod audit;
mod batches;
mod blobs;
mod columns;
mod error;
mod events;
mod idempotency;
mod interrupt;
mod keys;
pub mod limits;
mod lock;
mod logins;
mod page;
mod reader;
mod retention;
mod runs;
mod schema;
mod scope;
mod secrets;
mod sessions;
pub mod spool;
mod store;
mod tasks;
mod tenants;
mod texts;
mod traces;
mod usage;
mod writer;

pub use artifacts::{ArtifactRow, NewArtifact};
pub use audit::{Actor, AuditFilter, AuditRow, AuditVerdict, NewAudit};
pub use batches::{BatchAdmission, BatchItem, BatchRow, BatchState, NewBatch};
pub use blobs::Staged;
pub use error::StoreError;
pub use events::RunEvent;
pub use idempotency::Idempotency;
pub use keys::{CreatedKey, KEY_RANDOM_BYTES, KeyId, KeyRow, NewKey, Principal, Role};
pub use logins::LoginRow;
pub use page::{Cursor, Listed, PAGE_ROWS_MAX, Page};
pub use reader::Reader;
pub use retention::{Retained, Retention, Sizes};
pub use runs::{Admission, Fate, FateFilter, Filter, NewRun, RunRecord, RunRow, Settlement};
pub use scope::Scope;
pub use secrets::SecretRow;
pub use sessions::{NewSession, SessionCounts, SessionEnd, SessionRow};
pub use spool::{Ingested, Record};
pub use store::{Durability, Options, Store};
pub use tasks::{NewQuestion, NewTask, TaskAdmission, TaskEvent, TaskNews, TaskRow, TaskState, TaskStep};
pub use tenants::{Quota, TenantRow};
pub use traces::{
    ForeignTrace, ModelUse, NewTrace, ToldPage, ToldSpan, TraceContent, TraceDigest, TraceEnd, TraceFilter,
    TraceKind, TracePart, TraceRow, WholeTrace,
};
pub use usage::UsageRow;
pub use writer::Write;

/// The database's name in the data directory.
const DATABASE: &str = "fireclay.db";
