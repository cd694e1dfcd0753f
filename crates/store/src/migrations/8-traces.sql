-- Traces: one row for each trace and tenant. What a trace is made of is told by the records of its runs, tasks, batches and sessions; only
-- what those lack is here. Times are microseconds since 1970.
CREATE TABLE traces (
    seq          INTEGER PRIMARY KEY,
    -- 32 hexadecimal digits (W3C Trace Context).
    id           TEXT    NOT NULL,
    tenant       TEXT    NOT NULL,
    kind         TEXT    NOT NULL CHECK (kind IN ('run', 'session', 'task', 'batch')),
    -- What began it.
    object       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    language     TEXT,
    model        TEXT,
    started_at   INTEGER NOT NULL,
    -- When the last part ended, of those that have.
    ended_at     INTEGER,
    -- Parts on their way, and all parts.
    open         INTEGER NOT NULL,
    parts        INTEGER NOT NULL,
    outcome      TEXT,
    tokens_in    INTEGER,
    tokens_out   INTEGER,
    -- Dollars.
    cost         REAL,
    -- Requests to the model.
    calls        INTEGER NOT NULL DEFAULT 0,
    calls_failed INTEGER NOT NULL DEFAULT 0,
    calls_us     INTEGER NOT NULL DEFAULT 0,
    spans        INTEGER NOT NULL,
    -- The beginnings of what went in and came out.
    input        TEXT    NOT NULL,
    output       TEXT    NOT NULL,
    -- How much of what went in and came out may be shown.
    content      TEXT    NOT NULL CHECK (content IN ('full', 'preview', 'off')),
    imported     INTEGER NOT NULL,
    remark       TEXT,
    UNIQUE (id, tenant)
) STRICT;
CREATE INDEX traces_by_tenant ON traces (tenant, started_at, id);
CREATE INDEX traces_by_time ON traces (started_at, id);
CREATE INDEX traces_open ON traces (seq) WHERE open > 0;

-- What a trace is made of: a run, a session, a task or a batch each.
CREATE TABLE trace_parts (
    object   TEXT    PRIMARY KEY,
    trace    INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    -- 16 hexadecimal digits each: its own span, and the one that it was asked for from.
    span     TEXT    NOT NULL,
    parent   TEXT,
    -- The object that it belongs to, if that has a part of the same trace.
    within   TEXT,
    began    INTEGER NOT NULL,
    ended    INTEGER,
    -- Times that the record of the object lacks: JSON.
    measured TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX trace_parts_by_trace ON trace_parts (trace, began);

-- Spans that no record tells: of traces that came from elsewhere. JSON.
CREATE TABLE trace_trees (trace INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
