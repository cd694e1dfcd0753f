-- Tasks: questions that a language model works on, and what happened on the way.
CREATE TABLE tasks (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    tenant       TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('running', 'waiting', 'answered', 'budget_exceeded', 'failed', 'cancelled', 'interrupted')),
    created_at   INTEGER NOT NULL,
    -- When its latest question was settled.
    settled_at   INTEGER,
    -- The session that its code runs in, once it has one.
    session      TEXT,
    -- What was asked: JSON.
    request      TEXT    NOT NULL,
    -- How many questions it was asked.
    questions    INTEGER NOT NULL,
    -- What the model and we have said, for the next question.
    conversation ANY,
    CHECK ((settled_at IS NULL) = (state IN ('running', 'waiting')))
) STRICT;
CREATE INDEX tasks_by_tenant ON tasks (tenant, created_at, id);
CREATE INDEX tasks_by_time ON tasks (created_at, id);
CREATE INDEX tasks_unsettled ON tasks (seq) WHERE settled_at IS NULL;

CREATE TABLE task_events (
    seq    INTEGER PRIMARY KEY,
    task   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    -- JSON.
    data   ANY     NOT NULL,
    UNIQUE (task, number)
) STRICT;
