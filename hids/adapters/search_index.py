"""Search index: writes `search.db`, where people look for alerts (hids.adapters.search).

It is an output like any other: it follows the outbox behind its own cursor, which moves in the transaction
that adds the alerts, so each alert is in it exactly once. It may lag, and when it is damaged or of another
version it is put aside and filled anew.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
import zstandard
from sqlite_utils import Database

from hids.adapters.outbox import OutboxRow
from hids.adapters.search_schema import BUSY_WAIT_S, SCHEMA, VERSION
from hids.adapters.sqlite import is_damage, put_aside
from hids.core.alert.text import flat
from hids.core.packed import unpack
from hids.core.rules.compliance import FRAMEWORKS, Required
from hids.errors import StoreError
from hids.messages.outputs import Incident

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
        db = Database(sqlite3.connect(self._path, timeout=BUSY_WAIT_S, isolation_level=None))
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
        aside = put_aside(self._path, ".old")
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


def _tune(db: Database) -> None:
    db.conn.execute("PRAGMA synchronous = NORMAL")
    db.conn.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    db.conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _make(db: Database) -> None:
    db.enable_wal()
    with db.atomic():
        for statement in SCHEMA.split(";\n"):
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
