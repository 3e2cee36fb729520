"""Search index: `search.db`, where people look for alerts.

It is an output like any other: it follows the outbox behind its own cursor, which moves in the transaction
that adds the alerts, so each alert is in it exactly once. It may lag, and when it is damaged or of another
version it is put aside and filled anew.

Tables: `blocks` holds the alerts' JSON lines, packed some hundred together (zstd over one alert saves
little); `alerts` what is filtered by, with one index that covers all of it in the order of time; `agents` and
`groups` the names behind ids and rules; `incidents` what goes on, and `incident_alerts` of what; `alerts_text` the words (FTS5, without a copy of the text).
"""

import os
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
import zstandard
from sqlite_utils import Database

from hids.adapters.outbox import OutboxRow
from hids.adapters.packed import unpack
from hids.adapters.sqlite import is_damage
from hids.core.alert.text import flat
from hids.core.rules.compliance import FRAMEWORKS, Required
from hids.errors import StoreError
from hids.messages.outputs import Incident

VERSION = 2
"""`user_version` of the file. Another one is not migrated but filled anew."""

BLOCK_LINES = 128
BLOCK_BYTES = 256 * 1024
"""A block is cut at either. Showing one alert unpacks its block: well under a millisecond."""

TRIM_BLOCKS = 16
"""Forgotten at once at most: some 2,000 alerts, in some tens of milliseconds."""
TRIM_PART = 10
"""One in so many blocks goes when the file is too large: then the words are rewritten once for that, and not for each."""
COMPACT_PAGES = 500
"""Written by one step of that."""

_CACHE_KIB = 32 * 1024
_WAL_BYTES = 64 * 1024 * 1024
_BUSY_WAIT_S = 5.0

_SCHEMA = """
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

_TERMS = re.compile(r'"([^"]*)"|(\S+)')

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Rule(Required, frozen=True, kw_only=True):
    level: int
    id: str
    description: str = ""
    groups: tuple[str, ...] = ()

    def all_groups(self) -> Iterator[str]:
        """The groups as the rule has them: those of compliance have members of their own in an alert."""
        yield from self.groups
        for framework in FRAMEWORKS:
            yield from (f"{framework}_{requirement}" for requirement in getattr(self, framework))


class _Agent(msgspec.Struct):
    id: str
    name: str = ""


class _Hids(msgspec.Struct, frozen=True):
    incident: Incident | None = None


class _Alert(msgspec.Struct):
    """What the index needs to know of an alert."""

    timestamp: str
    rule: _Rule
    agent: _Agent
    id: str = ""
    location: str = ""
    full_log: str = ""
    previous_output: str = ""
    data: dict[str, Any] = {}
    hids: _Hids = _Hids()


_alert = msgspec.json.Decoder(_Alert)
_json = msgspec.json.Encoder().encode


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts are looked for: those for which all that is given holds."""

    since_ms: int | None = None
    until_ms: int | None = None
    """Event time, both ends included."""
    level_min: int = 0
    agent: str | None = None
    """Id or name."""
    rule: int | None = None
    group: str | None = None
    """One whole group name."""
    text: str | None = None
    """Words, all of which occur in the description, the logs, the agent's name, the location or a decoded
    field's value, in any case. "Quoted words" stand beside each other; a word that ends in * is a
    beginning."""
    limit: int = 50
    newest_first: bool = True
    """In the order of event time; with `text` or `after_number` in the order of numbers, in which alerts
    came."""
    after_number: int | None = None
    upto_number: int | None = None
    """Nothing that was added later, so that a follower can go on behind it."""


class IncidentRow(msgspec.Struct, frozen=True):
    """One incident, as its alerts tell it."""

    id: str
    first_ms: int
    last_ms: int
    """Event time of its first and last alert."""
    count: int
    """Alerts."""
    level: int
    """The highest."""
    key: dict[str, str]
    """What it is about."""
    agents: tuple[str, ...]
    """Ids of those that it was seen on."""
    rules: tuple[int, ...]


class RequirementRow(msgspec.Struct, frozen=True):
    """Alerts about one requirement of a framework of compliance."""

    framework: str
    requirement: str
    alerts: int
    level: int
    """Highest."""
    last_ms: int
    agents: tuple[str, ...]
    rules: tuple[int, ...]
    """Those that told most come first."""


class SearchIndex:
    """Writes `search.db`. For one thread, and the only writer of the file.

    Hand it what `archive.rows_after(..., after=number, ...)` gives. When the file turns out to be damaged it
    is put aside as `search.db.old`, `number` falls back to 0, and all is to be added again.

    Args:
        path: the file; its folder must exist.
        newest: number of the newest alert that is committed. When the index knows more, it belongs to a
        ledger that
            is gone, and numbers will come again for other alerts: it is put aside.

    Raises:
        StoreError: the file cannot be made or opened.
    """

    def __init__(self, path: Path, newest: int) -> None:
        self._path = path
        self._pack = zstandard.ZstdCompressor(level=3)
        self._surplus = 0
        """Blocks that go since the file is too large."""
        self._compacting = True
        """Words that were taken out take room until they are folded in; before that the size says nothing."""
        self._compacted = False
        try:
            self._db, self.number = self._open()
            if self.number > newest:
                self._set_aside(f"it knows {self.number} alerts, the ledger {newest}")
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def add(self, rows: Sequence[OutboxRow]) -> None:
        """Add the alerts above `number`, all in one transaction: group rows, it has a price of its own.

        Raises:
            StoreError: nothing was added (disk full, say): go on later, with what comes after `number` then.
        """
        lines = [numbered for row in rows for numbered in _numbered(row, self.number)]
        if not lines:
            return
        try:
            with self._db.atomic():
                self._add(lines)
                self._db.conn.execute("UPDATE cursor SET number = ?", (lines[-1][0],))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise self._failure(error) from error
            self._set_aside(str(error))
            raise StoreError(f"{self._path}: the search index was damaged, read again after {self.number}") from error
        self.number = lines[-1][0]

    def trim(self, before_ms: int, max_bytes: int) -> bool:
        """Forget the oldest alerts, a piece a call: those from before a time, and those over a size (0: no limit).

        Returns:
            Whether there is more to do.

        Raises:
            StoreError: nothing was forgotten.
        """
        try:
            with self._db.atomic():
                return self._trim(before_ms, max_bytes)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _trim(self, before_ms: int, max_bytes: int) -> bool:
        if self._surplus > 0:
            forgotten = self._forget(None, min(TRIM_BLOCKS, self._surplus))
            self._surplus -= TRIM_BLOCKS
            self._compacting = True
            return forgotten
        if self._forget(before_ms, TRIM_BLOCKS):
            return True
        if max_bytes and self._compacting:
            self._compacting = self._compact()
            return True
        if max_bytes and self._used_bytes() > max_bytes:
            (blocks,) = self._db.conn.execute("SELECT count(*) FROM blocks").fetchone()
            self._surplus = max(1, blocks // TRIM_PART)
            return bool(blocks)
        return False

    def _forget(self, before_ms: int | None, blocks: int) -> bool:
        """Forget the oldest so many blocks that are from before a time; None: whatever their time."""
        return any([self._forget_block(before_ms) for _ in range(blocks)])  # noqa: C419 - all of them

    def _forget_block(self, before_ms: int | None) -> bool:
        run = self._db.conn.execute
        row = run("SELECT first, count, data FROM blocks ORDER BY first LIMIT 1").fetchone()
        if row is None:
            return False
        first, count, data = row
        part = {"first": first, "last": first + count - 1}
        (newest,) = run("SELECT max(at_ms) FROM alerts WHERE number BETWEEN :first AND :last", part).fetchone()
        if before_ms is not None and (newest or 0) >= before_ms:
            return False
        # The words are not stored: they are taken out by telling them again.
        self._db.conn.executemany(
            "INSERT INTO alerts_text(alerts_text, rowid, words) VALUES ('delete', ?, ?)", _words_of(first, data)
        )
        run("DELETE FROM alerts WHERE number BETWEEN :first AND :last", part)
        run("DELETE FROM incident_alerts WHERE number BETWEEN :first AND :last", part)
        run("DELETE FROM incidents WHERE last_ms < ?", (max(before_ms or 0, newest or 0),))
        run("DELETE FROM blocks WHERE first = :first", part)
        return True

    def _compact(self) -> bool:
        """Fold what was taken out of the words into the rest, a piece of it; whether there is more of that."""
        before = self._db.conn.total_changes
        pages = (
            COMPACT_PAGES if self._compacted else -COMPACT_PAGES
        )  # the first takes all segments together (FTS5, 6.8)
        self._db.conn.execute("INSERT INTO alerts_text(alerts_text, rank) VALUES ('merge', ?)", (pages,))
        self._compacted = self._db.conn.total_changes - before >= 2  # noqa: PLR2004 - as SQLite's manual says
        return self._compacted

    def _used_bytes(self) -> int:
        """Of the file; what was freed in it is used again."""
        pages, free, size = (
            self._db.conn.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def close(self) -> None:
        """Close the file."""
        self._db.conn.close()

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path}: the search index cannot be written: {error}; alerts are safe in the ledger and"
            " the alert files, and are added once the cause is gone"
        )

    # -- the file --------------------------------------------------------------------------------------------

    def _open(self) -> tuple[Database, int]:
        """Open or make the file; the number is that of the last alert in it."""
        db = Database(sqlite3.connect(self._path, timeout=_BUSY_WAIT_S, isolation_level=None))
        try:
            _tune(db)
            version: int = db.conn.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not db.table_names():
                _make(db)
            elif version != VERSION:
                return self._again(db, f"it is of version {version}, this program writes {VERSION}")
            return db, db.conn.execute("SELECT number FROM cursor").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                db.conn.close()
                raise
            return self._again(db, str(error))

    def _set_aside(self, reason: str) -> None:
        self._db, self.number = self._again(self._db, reason)

    def _again(self, db: Database, reason: str) -> tuple[Database, int]:
        """Put the file aside and make a new one."""
        with suppress(sqlite3.Error):
            db.conn.close()
        aside = self._path.with_name(self._path.name + ".old")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        log.error("search index is built anew", path=str(self._path), reason=reason, aside=str(aside))
        return self._open()

    # -- adding ----------------------------------------------------------------------------------------------

    def _add(self, lines: list[tuple[int, bytes]]) -> None:
        alerts: list[tuple[int, int, int, int, str]] = []
        words: list[tuple[int, str]] = []
        agents: set[tuple[str, str]] = set()
        groups: set[tuple[str, int]] = set()
        incidents: list[dict[str, Any]] = []
        for number, line in lines:
            try:
                alert = _alert.decode(line)
                rule, at = _keys_of(alert)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # kept, though not found
                log.error("alert cannot be indexed", number=number, error=str(error))  # noqa: TRY400
                continue
            alerts.append((number, int(at.timestamp() * 1000), alert.rule.level, rule, alert.agent.id))
            words.append((number, _words(alert)))
            agents.add((alert.agent.id, alert.agent.name))
            if (incident := alert.hids.incident) is not None:
                values = {"id": incident.id, "key": _json(incident.key).decode(), "number": number, "rule": rule}
                incidents.append(values | {"at_ms": alerts[-1][1], "level": alert.rule.level, "agent": alert.agent.id})
            groups.update((group, rule) for group in alert.rule.all_groups())
        run = self._db.conn.executemany
        run("INSERT INTO blocks VALUES (?, ?, ?)", self._blocks(lines))
        run("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", alerts)
        run("INSERT INTO alerts_text(rowid, words) VALUES (?, ?)", words)
        run("INSERT OR IGNORE INTO agents VALUES (?, ?)", agents)
        run("INSERT OR IGNORE INTO groups VALUES (?, ?)", groups)
        run(
            "INSERT INTO incidents VALUES (:id, :at_ms, :at_ms, 1, :level, :key) ON CONFLICT(id) DO UPDATE SET"
            " first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms),"
            " count = count + 1, level = max(level, excluded.level)",
            incidents,
        )
        run("INSERT INTO incident_alerts VALUES (:id, :number, :agent, :rule)", incidents)

    def _blocks(self, lines: list[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
        start = size = 0
        for index, (number, line) in enumerate(lines):
            full = index - start == BLOCK_LINES or size + len(line) > BLOCK_BYTES
            if index > start and (full or number != lines[index - 1][0] + 1):
                yield self._block(lines[start:index])
                start, size = index, 0
            size += len(line)
        yield self._block(lines[start:])

    def _block(self, lines: list[tuple[int, bytes]]) -> tuple[int, int, bytes]:
        return lines[0][0], len(lines), self._pack.compress(b"\n".join(line for _, line in lines))


class Search:
    """Reads `search.db`, while it is being written. For one thread.

    Each question is a short transaction of its own. Raises `StoreError` when there is no index or it is
    damaged.
    """

    def __init__(self, path: Path) -> None:
        self._inode = _inode(path)  # before the file is opened: a change in between must show
        if not self._inode:
            raise StoreError(f"{path}: there is no search index yet; it is made when the manager first runs")
        self._path = path
        self._block: tuple[int, list[bytes]] = (0, [])
        uri = f"{path.absolute().as_uri()}?mode=ro"
        if not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK):
            uri += "&immutable=1"  # nobody writes, and the files that reading needs cannot be made
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=_BUSY_WAIT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        try:
            self._check_version()
        except StoreError:
            self._db.close()
            raise

    def find(self, query: Query) -> Iterator[tuple[int, bytes]]:
        """Numbers and JSON lines (without newline) of the alerts that `query` asks for, in its order."""
        sql, values = _select(query)
        # Numbers first, blocks after: however slowly the caller takes them, no transaction stays open.
        for (number,) in self._ask(sql, values):
            if (line := self._line(number)) is not None:
                yield number, line

    def incidents(
        self, *, since_ms: int = 0, level_min: int = 0, agent: str | None = None, limit: int = 50
    ) -> list[IncidentRow]:
        """Incidents that went on since a time, the latest first. `agent` is an id or a name."""
        sql = (
            "SELECT id, first_ms, last_ms, count, level, key FROM incidents WHERE last_ms >= :since AND level >= :level"
        )
        values: dict[str, Any] = {"since": since_ms, "level": level_min, "limit": limit}
        if agent is not None:
            sql += (
                " AND id IN (SELECT incident FROM incident_alerts WHERE agent = :agent"
                " OR agent IN (SELECT id FROM agents WHERE name = :agent))"
            )
            values["agent"] = agent.encode(errors="replace").decode()
        return list(map(self._incident, self._ask(f"{sql} ORDER BY last_ms DESC, id LIMIT :limit", values)))

    def incident(self, name: str) -> IncidentRow | None:
        """One incident by its id."""
        sql = "SELECT id, first_ms, last_ms, count, level, key FROM incidents WHERE id = :id"
        found = self._ask(sql, {"id": name.encode(errors="replace").decode()})
        return self._incident(found[0]) if found else None

    def alerts_of(self, incident: str, limit: int) -> Iterator[tuple[int, bytes]]:
        """Its first alerts, in the order in which they came."""
        sql = "SELECT number FROM incident_alerts WHERE incident = :id ORDER BY number LIMIT :limit"
        for (number,) in self._ask(sql, {"id": incident, "limit": limit}):
            if (line := self._line(number)) is not None:
                yield number, line

    def _incident(self, row: tuple[Any, ...]) -> IncidentRow:
        name, first_ms, last_ms, count, level, key = row
        alerts = {"id": name}
        agents = self._ask("SELECT DISTINCT agent FROM incident_alerts WHERE incident = :id ORDER BY agent", alerts)
        rules = self._ask("SELECT DISTINCT rule FROM incident_alerts WHERE incident = :id ORDER BY rule", alerts)
        about = msgspec.json.decode(key, type=dict[str, str])
        return IncidentRow(
            name, first_ms, last_ms, count, level, about, tuple(a for (a,) in agents), tuple(r for (r,) in rules)
        )

    def compliance(
        self, framework: str, *, since_ms: int = 0, level_min: int = 0, agent: str | None = None
    ) -> list[RequirementRow]:
        """What alerts since a time say of each requirement of a framework (a key of FRAMEWORKS)."""
        prefix = framework + "_"
        sql = (
            "SELECT name, rule, agent, count(*), max(level), max(at_ms) FROM alerts JOIN groups USING (rule)"
            " WHERE substr(name, 1, :length) = :prefix AND at_ms >= :since AND level >= :level"
        )
        values: dict[str, Any] = {"length": len(prefix), "prefix": prefix, "since": since_ms, "level": level_min}
        if agent is not None:
            sql += " AND (agent = :agent OR agent IN (SELECT id FROM agents WHERE name = :agent))"
            values["agent"] = agent.encode(errors="replace").decode()
        found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for name, *rest in self._ask(sql + " GROUP BY name, rule, agent ORDER BY name", values):
            found[name[len(prefix) :]].append(tuple(rest))
        return [_requirement(framework, requirement, rows) for requirement, rows in found.items()]

    def newest(self) -> int:
        """Number of the last alert in the index; 0 for none."""
        number: int = self._ask("SELECT number FROM cursor")[0][0]
        return number

    def data_version(self) -> int:
        """A number that changes when the index was written."""
        version: int = self._ask("PRAGMA data_version")[0][0]
        return version

    def replaced(self) -> bool:
        """Whether the index was put aside: another file will take its place, if it has not yet."""
        return _inode(self._path) != self._inode

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _check_version(self) -> None:
        version = self._ask("PRAGMA user_version")[0][0]
        if version != VERSION:
            raise StoreError(f"{self._path}: the search index is of version {version}, this program reads {VERSION}")

    def _ask(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            with closing(self._db.execute(sql, values or {})) as found:
                return found.fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: the search index cannot be read: {error}")

    def _line(self, number: int) -> bytes | None:
        first, lines = self._block
        if not first <= number < first + len(lines):
            found = self._ask(
                "SELECT first, count, data FROM blocks WHERE first <= :number ORDER BY first DESC LIMIT 1",
                {"number": number},
            )
            if not found or number >= found[0][0] + found[0][1]:
                return None  # the alert's time was up between the two questions
            first, lines = found[0][0], self._lines(found[0][2])
            self._block = first, lines
        return lines[number - first]

    def _lines(self, data: bytes) -> list[bytes]:
        try:
            return unpack(data).split(b"\n")
        except ValueError as error:
            raise StoreError(f"{self._path}: the search index is damaged: a block {error}") from error


def _requirement(framework: str, requirement: str, rows: list[tuple[Any, ...]]) -> RequirementRow:
    """Rows of (rule, agent, alerts, highest level, last time) as one."""
    by_rule: Counter[int] = Counter()
    for rule, _, alerts, _, _ in rows:
        by_rule[rule] += alerts
    return RequirementRow(
        framework=framework,
        requirement=requirement,
        alerts=by_rule.total(),
        level=max(row[3] for row in rows),
        last_ms=max(row[4] for row in rows),
        agents=tuple(sorted({row[1] for row in rows})),
        rules=tuple(rule for rule, _ in by_rule.most_common()),
    )


def _inode(path: Path) -> int:
    """0 when there is no such file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _tune(db: Database) -> None:
    db.conn.execute("PRAGMA synchronous = NORMAL")
    db.conn.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    db.conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _make(db: Database) -> None:
    db.enable_wal()
    with db.atomic():
        for statement in _SCHEMA.split(";\n"):
            db.conn.execute(statement)
        db.conn.execute(f"PRAGMA user_version = {VERSION}")


def _numbered(row: OutboxRow, after: int) -> Iterable[tuple[int, bytes]]:
    start = max(row.first, after + 1)
    return enumerate(row.after(start - 1).splitlines(), start)


def _words(alert: _Alert) -> str:
    return "\n".join(
        (
            alert.rule.description,
            alert.id,
            alert.agent.name,
            alert.location,
            alert.full_log,
            alert.previous_output,
            *(str(value) for _, value in flat(alert.data)),
        )
    )


def _words_of(first: int, data: bytes) -> Iterator[tuple[int, str]]:
    """Number and words of each alert of a block, as they were added."""
    for number, line in enumerate(unpack(data).split(b"\n"), first):
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            alert = _alert.decode(line)
            _keys_of(alert)  # raises for what was not indexed
            yield number, _words(alert)


def _keys_of(alert: _Alert) -> tuple[int, datetime]:
    """Rule and time; ValueError: it cannot be indexed."""
    return int(alert.rule.id), datetime.fromisoformat(alert.timestamp)


def _match(text: str) -> str:
    """A user's words as an FTS5 query: every one quoted, so that none is taken for syntax."""
    terms: list[str] = []
    for quoted, bare in _TERMS.findall(text.replace("\0", " ")):
        word = (quoted or bare).replace('"', '""')
        terms.append(f'"{word}"*' if bare.endswith("*") else f'"{word}"')
    return " ".join(terms) or '""'


def _select(query: Query) -> tuple[str, dict[str, Any]]:
    """The question for the numbers of alerts, and its values. Only constants become text of it."""
    tests = {
        "since_ms": "at_ms >= :since_ms",
        "until_ms": "at_ms <= :until_ms",
        "level_min": "level >= :level_min",
        "rule": "rule = :rule",
        "agent": "(agent = :agent OR agent IN (SELECT id FROM agents WHERE name = :agent))",
        "group": "rule IN (SELECT rule FROM groups WHERE name = :group)",
        "after_number": "number > :after_number",
        "upto_number": "number <= :upto_number",
    }
    values: dict[str, Any] = {name: value for name in (*tests, "limit") if (value := getattr(query, name)) is not None}
    for name, value in values.items():
        if isinstance(value, str):  # a command line may hold bytes that are no UTF-8
            values[name] = value.encode(errors="replace").decode()
    where = [test for name, test in tests.items() if name in values]
    order = "DESC" if query.newest_first else "ASC"
    if query.text is not None:
        values["text"] = _match(query.text.encode(errors="replace").decode())
        where.append("alerts_text MATCH :text")
        if query.since_ms is not None:  # spares the words of all that came before
            where.append("alerts_text.rowid >= (SELECT min(number) FROM alerts WHERE at_ms >= :since_ms)")
        # CROSS JOIN keeps the tables' order: words first, newest or oldest, until there are enough.
        source, by = "alerts_text CROSS JOIN alerts ON number = alerts_text.rowid", "alerts_text.rowid"
    else:
        source, by = "alerts", "number" if query.after_number is not None else f"at_ms {order}, number"
    conditions = " AND ".join(where)
    sql = f"SELECT number FROM {source} WHERE {conditions} ORDER BY {by} {order} LIMIT :limit"  # noqa: S608
    return sql, values
