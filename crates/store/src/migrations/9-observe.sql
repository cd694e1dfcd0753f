-- Spans that a program of a caller tells one by one, each perhaps several times while it grows.
CREATE TABLE told_spans (
    tenant     TEXT    NOT NULL,
    -- As the program names it, and what it names as its parent.
    id         TEXT    NOT NULL,
    parent     TEXT,
    trace      INTEGER NOT NULL,
    -- Whether no span of the trace is its parent.
    is_root    INTEGER NOT NULL,
    -- Microseconds since 1970.
    began      INTEGER NOT NULL,
    ended      INTEGER,
    is_failed  INTEGER NOT NULL,
    -- Which of the caller's programs tells it.
    component  TEXT,
    -- Whether it is a request to a model.
    is_model   INTEGER NOT NULL,
    tokens_in  INTEGER,
    tokens_out INTEGER,
    -- Dollars.
    cost       REAL,
    -- The span as its readers know it: JSON.
    text       ANY     NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX told_spans_by_trace ON told_spans (trace, parent);
CREATE INDEX told_spans_roots ON told_spans (trace) WHERE is_root;
CREATE INDEX told_spans_used ON told_spans (trace) WHERE tokens_in IS NOT NULL OR is_model;
CREATE INDEX told_spans_by_component ON told_spans (component) WHERE component IS NOT NULL;

-- Who is logged in at the console. Of a login's secret only the SHA-256 is here.
CREATE TABLE logins (
    secret_sha256 BLOB    PRIMARY KEY,
    -- The key that it was made with.
    key           TEXT    NOT NULL,
    tenant        TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'tenant')),
    -- Milliseconds since 1970.
    since         INTEGER NOT NULL,
    used          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
