-- Adds updates: one row a task as it stands, one row an event.
CREATE TABLE IF NOT EXISTS ota_tasks (
    key TEXT PRIMARY KEY,           -- source/job/execution
    over INTEGER NOT NULL,          -- 1 in a final state
    told INTEGER NOT NULL,          -- 1 when the one who asked has heard the end
    record TEXT NOT NULL,           -- JSON
    at REAL NOT NULL                -- wall seconds of the last move
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ota_events (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    at REAL NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ota_events_by_task ON ota_events (key, id);
