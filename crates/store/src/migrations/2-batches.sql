-- Batches and their counters, which outlive their runs.
CREATE TABLE batches (
    seq        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    tenant     TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('running', 'settled', 'cancelled')),
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    total      INTEGER NOT NULL,
    settled    INTEGER NOT NULL DEFAULT 0,
    options    TEXT    NOT NULL
) STRICT;
CREATE INDEX batches_by_tenant ON batches (tenant, created_at, id);
CREATE INDEX batches_by_time ON batches (created_at, id);
CREATE INDEX batches_running ON batches (seq) WHERE state = 'running';

CREATE TABLE batch_fates (
    batch INTEGER NOT NULL,
    fate  TEXT    NOT NULL,
    runs  INTEGER NOT NULL,
    PRIMARY KEY (batch, fate)
) STRICT, WITHOUT ROWID;
