"""rootcheck.db: what rootcheck found on each agent, when it was first and last there, and when the agent last scanned.

The lane writes it before it commits the lines that it comes from: after a crash the same batches come again, and are known by their
place. It can be rebuilt: each scan ends by naming all that is there. `hidsctl rootcheck` reads it beside the
running manager.

A finding is outstanding when it was there in the last scan that ended, or after it; else it is resolved.
"""

import contextlib
import os
import sqlite3
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from hids.adapters.sqlite import is_damage, put_aside, transaction
from hids.core.rootcheck.report import Said
from hids.errors import StoreError
from hids.messages.lane import Place

log = structlog.get_logger()

SCHEMA_VERSION = 1
MAX_FINDINGS = 10_000
"""Of one agent; beyond, those that were seen last longest ago go."""
MAX_TEXT = 4_096
"""Characters."""
_BUSY_S = 5.0

_TABLES = """
CREATE TABLE finding (
    agent TEXT NOT NULL, text TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    PRIMARY KEY (agent, text)
) WITHOUT ROWID;
CREATE TABLE scan (
    agent TEXT PRIMARY KEY, name TEXT NOT NULL, started_ms INTEGER NOT NULL DEFAULT 0,
    done_from_ms INTEGER NOT NULL DEFAULT 0, done_ms INTEGER NOT NULL DEFAULT 0,
    excepted INTEGER NOT NULL DEFAULT 0, unfinished TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""
_SEEN = """
INSERT INTO finding (agent, text, first_ms, last_ms) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (agent, text) DO UPDATE SET first_ms = min(first_ms, ?3), last_ms = max(last_ms, ?3)
"""
_ROWS = """
SELECT finding.agent, scan.name, finding.text, finding.first_ms, finding.last_ms, finding.last_ms >= scan.done_from_ms
FROM finding JOIN scan USING (agent)
"""
_SCANS = """
SELECT scan.agent, scan.name, scan.done_from_ms, scan.done_ms,
    (SELECT count(*) FROM finding WHERE finding.agent = scan.agent AND last_ms >= done_from_ms),
    (SELECT count(*) FROM finding WHERE finding.agent = scan.agent AND last_ms < done_from_ms),
    scan.excepted, scan.unfinished
FROM scan
"""


class FindingRow(NamedTuple):
    """One finding."""

    agent: str
    name: str
    text: str
    first_ms: int
    last_ms: int
    outstanding: bool


class ScanRow(NamedTuple):
    """What is known of one agent."""

    agent: str
    name: str
    started_ms: int
    """Of the last scan that ended; 0: none has."""
    ended_ms: int
    outstanding: int
    resolved: int
    excepted: int
    unfinished: str
    """Checks that did not come to their end, with commas."""


class Findings:
    """The open file, for writing. Use it from one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create it; a damaged file is put aside, for what is in it comes again.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version.
        """
        self._path = path
        try:
            self._db = self._open()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise StoreError(f"{path}: cannot be opened: {error}") from error
            aside = put_aside(path, ".damaged")
            log.warning("rootcheck's findings were damaged and begin anew", kept_as=str(aside))
            self._db = self._open()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def note(self, agent: str, name: str, place: Place, said: Sequence[tuple[int, Said]]) -> None:
        """Take what an agent said, each with its time, in one transaction.

        Args:
            agent: its id.
            name: its name, for people.
            place: of the last line of the batch; a batch that was taken before is not taken again.
            said: in the order of the lines.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        db = self._db
        with transaction(db):
            db.execute(
                "INSERT INTO scan (agent, name) VALUES (?1, ?2) ON CONFLICT (agent) DO UPDATE SET name = ?2",
                (agent, name),
            )
            before = Place(*db.execute("SELECT source, epoch, seq FROM scan WHERE agent = ?", (agent,)).fetchone())
            if (before.source, before.epoch) == (place.source, place.epoch) and place.seq <= before.seq:
                return
            for at_ms, each in said:
                self._note(agent, at_ms, each)
            db.execute(
                "UPDATE scan SET source = ?, epoch = ?, seq = ? WHERE agent = ?",
                (place.source, place.epoch, place.seq, agent),
            )
            # Those of one agent only: others may have as many.
            db.execute(
                "DELETE FROM finding WHERE agent = ?1 AND text IN (SELECT text FROM finding WHERE agent = ?1 "
                "ORDER BY last_ms DESC LIMIT -1 OFFSET ?2)",
                (agent, MAX_FINDINGS),
            )

    def _note(self, agent: str, at_ms: int, said: Said) -> None:
        db = self._db
        # What comes behind the beginning of a scan belongs to it, even when a clock went back meanwhile.
        (started_ms,) = db.execute("SELECT started_ms FROM scan WHERE agent = ?", (agent,)).fetchone()
        at_ms = max(at_ms, started_ms)
        match said.what:
            case "starting":
                db.execute("UPDATE scan SET started_ms = ? WHERE agent = ?", (at_ms, agent))
            case "finding":
                db.execute(_SEEN, (agent, _text(said.text), at_ms))
            case "ending":
                ending = said.ending
                db.executemany(_SEEN, ((agent, _text(text), at_ms) for text in ending.seen))
                if ending.part >= ending.parts:
                    db.execute(
                        "UPDATE scan SET done_from_ms = started_ms, done_ms = ?, excepted = ?, unfinished = ? WHERE agent = ?",
                        (at_ms, ending.excepted, _text(",".join(ending.unfinished)), agent),
                    )
            case _:
                pass

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # -wal and -shm inherit it
        db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: schema {version} is newer than {SCHEMA_VERSION}, which this version knows; "
                "install the version that wrote it"
            )
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _damaged(verdict)
        if version == 0:
            with transaction(db):
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


class FindingsReader:
    """The file as `hidsctl` needs it, beside a running manager or without one.

    Every method raises `StoreError` when the file is missing or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def findings(self, agent: str | None = None) -> list[FindingRow]:
        """All findings, of one agent (id or name) or of all; the first ones first."""
        where, values = _of(agent)
        with self._opened() as db:
            rows = db.execute(f"{_ROWS} {where} ORDER BY agent, first_ms, text", values).fetchall()
        return [FindingRow(*row)._replace(outstanding=bool(row[5])) for row in rows]

    def scans(self, agent: str | None = None) -> list[ScanRow]:
        """The last scan of one agent or of all."""
        where, values = _of(agent)
        with self._opened() as db:
            return [ScanRow(*row) for row in db.execute(f"{_SCANS} {where} ORDER BY agent", values)]

    def clear(self, agent: str | None = None) -> int:
        """Forget the findings of one agent or of all; the next scan brings back what is there.

        Returns:
            How many there were.
        """
        where, values = _of(agent)
        with self._opened() as db, transaction(db):
            done = db.execute(f"DELETE FROM finding WHERE agent IN (SELECT agent FROM scan {where})", values)  # noqa: S608 - ours
            return done.rowcount

    @contextlib.contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        if not self._path.exists():
            raise StoreError(f"{self._path}: no agent has told of a rootcheck scan yet")
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=rw"  # in WAL mode even a reader writes the shared index
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version != SCHEMA_VERSION:
                    raise StoreError(f"{self._path}: schema {version}, this hidsctl reads {SCHEMA_VERSION}")
                yield db
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be used: {error}") from error


def _of(agent: str | None) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if agent is None else ("WHERE scan.agent = ?1 OR scan.name = ?1", (agent,))


def _text(text: str) -> str:
    """Bounded, and such as SQLite can hold."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def _damaged(verdict: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(f"damaged: {verdict}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
