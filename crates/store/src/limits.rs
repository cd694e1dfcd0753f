//! Every maximum that the store relies on.

use std::time::Duration;

/// Writes that may wait for the writer; the next waits for a place.
pub const WRITE_QUEUE_MAX: usize = 1024;
/// Most writes of one transaction.
pub const GROUP_MAX: usize = 256;
/// When the write-ahead log is cut.
pub const LOG_BYTES_MAX: u64 = 32 << 20;
/// How long a cut waits for readers that need the log; writes wait that long.
pub const LOG_WAIT: Duration = Duration::from_millis(250);
/// The last moment of the year 9999, milliseconds since 1970: what RFC 3339 can spell.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;
/// Longest request text of a run. Above the model's code and files, which HTTP bounds lower.
pub const REQUEST_BYTES_MAX: usize = 128 << 20;
/// Longest request text of a task.
pub const TASK_REQUEST_BYTES_MAX: usize = 4 << 20;
/// Longest data of one event of a task. Above the longest answer of a model.
pub const TASK_EVENT_BYTES_MAX: usize = 64 << 20;
/// Longest conversation of a task; one that grows longer takes no more questions.
pub const TASK_CONVERSATION_BYTES_MAX: usize = 64 << 20;
/// Most events of a task that are read at once.
pub const TASK_EVENTS_MAX: usize = 20_000;
/// Longest result text of a run: two streams at the default ceiling of 16 MiB fit, six-fold escaped at worst; what does not is a fault.
pub const RESULT_BYTES_MAX: usize = 256 << 20;
/// Longest text of a run's events.
pub const EVENTS_BYTES_MAX: usize = 256 << 20;
/// Most labels of a run that a filter finds.
pub const LABELS_MAX: usize = 64;
/// Longest label, key or value, that a filter finds.
pub const LABEL_BYTES_MAX: usize = 512;
/// Most labels in one filter.
pub const FILTER_LABELS_MAX: usize = 8;
/// Longest text to search for.
pub const FILTER_TEXT_BYTES_MAX: usize = 1024;
/// Most runs whose text is read for one page.
pub const TEXT_SCAN_MAX: usize = 5_000;
/// Most bytes of text read for one page, but for the run that goes beyond.
pub const TEXT_SCAN_BYTES_MAX: usize = 64 << 20;
/// A label that fewer runs than this have is looked up, another is tried on each run.
pub const LABELS_FEW: usize = 10_000;
/// Longest session, verdict, name, action or object.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest detail of an audit row, options of a batch or quota of a tenant, as JSON.
pub const DETAIL_BYTES_MAX: usize = 64 << 10;
/// Most API keys, revoked ones too: all are held in memory.
pub const KEYS_MAX: usize = 100_000;
/// Most secrets of a tenant: all are held in memory.
pub const SECRETS_MAX: usize = 100;
/// Longest sealed secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 << 10;
/// How often a key's last use is written at most.
pub const KEY_TOUCH_MS: i64 = 60_000;
/// Most runs that one step of retention removes.
pub const RETAIN_STEP_RUNS: usize = 100;
/// Bytes of runs after which a step of retention removes no more: the run that goes beyond is its last.
pub const RETAIN_STEP_BYTES: u64 = 64 << 20;
/// Most audit rows, expired idempotency keys or items of batches that one step of retention removes.
pub const RETAIN_STEP_ROWS: usize = 1_000;
/// Most pages of the database file given back in one step of retention.
pub const RETAIN_STEP_PAGES: usize = 1_024;
/// Longest name or preview of a trace.
pub const TRACE_TEXT_BYTES_MAX: usize = 640;
/// Longest remark on a trace.
pub const TRACE_REMARK_BYTES_MAX: usize = 800;
/// Longest times of one part of a trace, JSON.
pub const TRACE_MEASURED_BYTES_MAX: usize = 64 << 10;
/// Longest spans of a trace that came from elsewhere, JSON.
pub const TRACE_TREE_BYTES_MAX: usize = 16 << 20;
/// Most runs, sessions, tasks and batches that one trace is made of.
pub const TRACE_PARTS_MAX: i64 = 1_000;
/// Most spans of one trace that a program tells one by one.
pub const TOLD_SPANS_MAX: i64 = 10_000;
/// Most logins of the console that are kept.
pub const LOGINS_MAX: usize = 1_024;
/// Most traces that numbers are made of at once.
pub const TRACE_DIGESTS_MAX: usize = 100_000;
/// Longest record in the spool.
pub const SPOOL_RECORD_BYTES_MAX: u64 = 512 << 20;
/// Largest artifact in the spool.
pub const SPOOL_ARTIFACT_BYTES_MAX: u64 = 1 << 30;
/// Most files of the spool looked at in one call.
pub const SPOOL_INGEST_MAX: usize = 10_000;
/// Most records of the spool in memory at once.
pub const SPOOL_GROUP: usize = 64;
/// When a file without a record was left behind by a writer that died.
pub const SPOOL_STALE_MS: i64 = 60 * 60 * 1000;

const _: () = assert!(GROUP_MAX <= WRITE_QUEUE_MAX);
// SQLite's own bound of a row is 1 000 000 000 bytes (limits.html).
const _: () = assert!(REQUEST_BYTES_MAX + RESULT_BYTES_MAX + EVENTS_BYTES_MAX < 1_000_000_000);
