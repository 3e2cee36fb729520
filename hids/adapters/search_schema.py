"""What is in `search.db`, and how it is opened: for its one writer (search_index) and its readers (search).

Tables: `blocks` holds the alerts' JSON lines, packed some hundred together (zstd over one alert saves
little); `alerts` what is filtered by, with one index that covers all of it in the order of time; `agents` and
`groups` the names behind ids and rules; `incidents` what goes on, and `incident_alerts` of what; `alerts_text` the words (FTS5,
without a copy of the text).
"""

VERSION = 2
"""`user_version` of the file. Another one is not migrated but filled anew."""

BUSY_WAIT_S = 5.0
"""For somebody else's transaction."""

SCHEMA = """
    CREATE TABLE cursor(number INTEGER NOT NULL);
    INSERT INTO cursor VALUES (0);
    CREATE TABLE blocks(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE alerts(
        number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, level INTEGER NOT NULL, rule INTEGER NOT NULL,
        agent TEXT NOT NULL);
    CREATE INDEX alerts_by_time ON alerts(at_ms, level, rule, agent);
    CREATE TABLE agents(id TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (id, name)) WITHOUT ROWID;
    CREATE TABLE groups(name TEXT NOT NULL, rule INTEGER NOT NULL, PRIMARY KEY (name, rule)) WITHOUT ROWID;
    CREATE TABLE incidents(
        id TEXT PRIMARY KEY, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, count INTEGER NOT NULL,
        level INTEGER NOT NULL, key TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX incidents_by_time ON incidents(last_ms);
    CREATE TABLE incident_alerts(
        incident TEXT NOT NULL, number INTEGER NOT NULL, agent TEXT NOT NULL, rule INTEGER NOT NULL,
        PRIMARY KEY (incident, number)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE alerts_text USING fts5(words, content='', columnsize=0);
"""
