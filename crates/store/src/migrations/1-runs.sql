-- Runs, and all that belongs to one. Times are milliseconds since 1970. Words are those of the JSON.
CREATE TABLE runs (
    seq               INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    tenant            TEXT    NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'settled')),
    created_at        INTEGER NOT NULL,
    started_at        INTEGER,
    settled_at        INTEGER,
    language          TEXT    NOT NULL,
    outcome           TEXT,
    fault             TEXT,
    session           TEXT,
    batch             TEXT,
    batch_index       INTEGER,
    verdict           TEXT,
    metadata          TEXT    NOT NULL,
    wall_ms           INTEGER NOT NULL DEFAULT 0,
    cpu_ms            INTEGER NOT NULL DEFAULT 0,
    memory_peak_bytes INTEGER NOT NULL DEFAULT 0,
    -- A settled run has exactly one of outcome and fault, any other has neither.
    CHECK ((state = 'settled') = ((outcome IS NULL) <> (fault IS NULL))),
    CHECK (state = 'settled' OR (outcome IS NULL AND fault IS NULL))
) STRICT;
CREATE INDEX runs_by_tenant ON runs (tenant, created_at, id);
CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_unfinished ON runs (seq) WHERE state <> 'settled';
-- An item of a batch may take several runs: cases, checkers, second tries.
CREATE INDEX runs_by_batch ON runs (batch, batch_index, seq) WHERE batch IS NOT NULL;
CREATE INDEX runs_by_session ON runs (session, created_at, id) WHERE session IS NOT NULL;

-- Texts lie apart: lists do not read them, and settling does not write the request again.
CREATE TABLE requests (run INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE results (run INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
-- A JSON list of [seq, kind, data].
CREATE TABLE events (run INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;

-- Labels that a filter finds; all of them are in runs.metadata.
CREATE TABLE labels (
    run    INTEGER NOT NULL,
    key    TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    tenant TEXT    NOT NULL,
    PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_value ON labels (key, value, tenant, run);

CREATE TABLE artifacts (
    run    INTEGER NOT NULL,
    path   TEXT    NOT NULL,
    bytes  INTEGER NOT NULL,
    sha256 BLOB    NOT NULL,
    mime   TEXT    NOT NULL,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
-- Contents on disk, and how many artifacts have each.
CREATE TABLE blobs (
    sha256 BLOB    PRIMARY KEY,
    bytes  INTEGER NOT NULL,
    names  INTEGER NOT NULL CHECK (names > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    tenant      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    body_sha256 BLOB    NOT NULL,
    object      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (created_at);
