-- Devices, their last state, what waits for a cloud, and commands with their end.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (
    id TEXT PRIMARY KEY,            -- radio/key
    record TEXT NOT NULL            -- JSON
) WITHOUT ROWID;
CREATE TABLE state (
    id TEXT PRIMARY KEY,            -- radio/key; one row a device, so that a burst of reports rewrites one page
    record TEXT NOT NULL            -- JSON
) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER NOT NULL,
    uplink TEXT NOT NULL,
    lane INTEGER NOT NULL,
    kind TEXT NOT NULL,
    device TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    body TEXT NOT NULL,             -- compact JSON
    wall REAL NOT NULL,
    quality TEXT NOT NULL,
    boot TEXT NOT NULL,
    mono REAL NOT NULL,
    PRIMARY KEY (uplink, lane, id)
) WITHOUT ROWID;
CREATE TABLE backlog (              -- rows of the outbox, kept by the same transactions: opening counts nothing
    uplink TEXT NOT NULL,
    lane INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (uplink, lane)
) WITHOUT ROWID;
CREATE TABLE shed (                 -- what was dropped to stay within bounds, and why
    lane INTEGER NOT NULL,
    reason TEXT NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (lane, reason)
) WITHOUT ROWID;
CREATE TABLE commands (
    trace_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,           -- waiting, started, ended
    record TEXT NOT NULL,           -- JSON; empty once ended
    at REAL NOT NULL                -- wall seconds: received, or ended
) WITHOUT ROWID;
CREATE INDEX commands_by_time ON commands (status, at);
