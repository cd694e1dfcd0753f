-- Who may, and how much. Of a key's secret only the SHA-256 is here.
CREATE TABLE tenants (
    id         TEXT    PRIMARY KEY,
    created_at INTEGER NOT NULL,
    quota      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id            TEXT    PRIMARY KEY,
    secret_sha256 BLOB    NOT NULL,
    tenant        TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'tenant')),
    name          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;

-- What was used, by the hour and by outcome; `fault` stands for ours.
CREATE TABLE usage (
    tenant       TEXT    NOT NULL,
    hour         INTEGER NOT NULL,
    fate         TEXT    NOT NULL,
    runs         INTEGER NOT NULL,
    wall_ms      INTEGER NOT NULL,
    cpu_ms       INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, hour, fate)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_hour ON usage (hour, tenant);
