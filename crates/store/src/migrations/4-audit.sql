-- The audit log. A row's hash is SHA-256 of the hash before it and of the row.
CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    tenant TEXT,
    action TEXT    NOT NULL,
    object TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    hash   BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_by_tenant ON audit (tenant, seq);

-- The last row that retention removed: the rest of the chain hangs on its hash.
CREATE TABLE audit_anchor (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;
INSERT INTO audit_anchor VALUES (1, 0, zeroblob(32));

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN old.seq > (SELECT seq FROM audit_anchor)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
-- INSERT OR REPLACE would delete without firing the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN new.seq <= (SELECT max(seq) FROM audit)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
