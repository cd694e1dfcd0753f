-- Sessions: their beginning and their end. Their runs name them; what they used is counted there.
CREATE TABLE sessions (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    tenant      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    -- What was asked, and what became of it: JSON.
    request     TEXT    NOT NULL,
    ended_at    INTEGER,
    why         TEXT,
    detail      TEXT,
    -- Until when its files are kept after its end; absent when there are none.
    files_until INTEGER,
    -- What they take on the disk meanwhile.
    files_bytes INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NULL) = (why IS NULL))
) STRICT;
CREATE INDEX sessions_by_tenant ON sessions (tenant, created_at, id);
CREATE INDEX sessions_by_time ON sessions (created_at, id);
CREATE INDEX sessions_open ON sessions (seq) WHERE ended_at IS NULL;
CREATE INDEX sessions_with_files ON sessions (files_until) WHERE files_until IS NOT NULL;
