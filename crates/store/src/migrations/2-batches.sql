-- Batches, their items, and their counters, which outlive their runs.
CREATE TABLE batches (
    seq        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    tenant     TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('running', 'settled', 'cancelled', 'interrupted')),
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    -- Items so far: they are recorded as they come.
    total      INTEGER NOT NULL DEFAULT 0,
    answered   INTEGER NOT NULL DEFAULT 0,
    options    TEXT    NOT NULL,
    summary    TEXT
) STRICT;
CREATE INDEX batches_by_tenant ON batches (tenant, created_at, id);
CREATE INDEX batches_by_time ON batches (created_at, id);
CREATE INDEX batches_running ON batches (seq) WHERE state = 'running';

CREATE TABLE batch_fates (
    batch INTEGER NOT NULL,
    fate  TEXT    NOT NULL,
    items INTEGER NOT NULL,
    PRIMARY KEY (batch, fate)
) STRICT, WITHOUT ROWID;

-- An item's request is here until its answer is.
CREATE TABLE batch_items (
    seq     INTEGER PRIMARY KEY,
    batch   INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    request BLOB,
    answer  TEXT,
    UNIQUE (batch, place)
) STRICT;
