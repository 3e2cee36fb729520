"""Reads from ledger.db what became of every line: the ledger of proof, the holes, the quarantine.

Beside a running manager or without one. Each read is a short transaction of its own, so that the write-ahead log can
be cut; a reader never writes.
"""

import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import groupby
from pathlib import Path

import msgspec

from hids.adapters.ledger import HOUR_MS, LETTERS, letter_of
from hids.adapters.ledger_schema import SCHEMA_VERSION
from hids.core.proof import Gap, Interval, verify
from hids.errors import StoreError
from hids.messages.lane import Progress
from hids.ports import DeadLetter

_BUSY_WAIT_S = 5.0


class Lost(msgspec.Struct, frozen=True):
    """Lines that never came."""

    source: str
    epoch: int
    first: int
    last: int
    reason: str


class Account(msgspec.Struct, frozen=True):
    """The ledger of proof at one moment."""

    intervals: tuple[Interval, ...]
    """By source, epoch and hour."""
    progress: dict[str, Progress]
    holes: tuple[Lost, ...]
    alerts: int
    """Committed in all."""

    def gaps(self) -> list[Gap]:
        """What does not add up; empty is the proof."""
        return list(verify(self.intervals, self.progress))


class Proof:
    """The ledger at `path`, for reading.

    Every method raises `StoreError` when the file is missing, damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def account(self, since_ms: int = 0) -> Account:
        """What is known of each hour that ended after `since_ms`."""
        hour = since_ms // HOUR_MS
        with self._reading() as db:
            stretches = db.execute(
                "SELECT source, epoch, hour, first, last FROM stretch WHERE hour >= ? ORDER BY source, epoch, hour, first",
                (hour,),
            ).fetchall()
            tallies = db.execute("SELECT source, epoch, hour, what, n FROM tally WHERE hour >= ?", (hour,)).fetchall()
            progress = {
                row[0]: Progress(*row[1:]) for row in db.execute("SELECT source, epoch, seq, chain FROM progress")
            }
            holes = tuple(Lost(*row) for row in db.execute("SELECT source, epoch, first, last, reason FROM hole"))
            (alerts,) = db.execute("SELECT coalesce(sum(n), 0) FROM counts WHERE what = 'alerts'").fetchone()
        counts: dict[tuple[str, int, int], dict[str, int]] = {}
        for source, epoch, at, what, n in tallies:
            counts.setdefault((source, epoch, at), {})[what] = n
        intervals = tuple(
            Interval(*where, tuple((first, last) for *_, first, last in rows), counts.get(where, {}))
            for where, rows in groupby(stretches, lambda row: (row[0], row[1], row[2]))
        )
        return Account(intervals, progress, holes, alerts)

    def totals(self) -> dict[tuple[str, str], int]:
        """All counts since the ledger began, by (source, what); they only grow."""
        with self._reading() as db:
            return {(source, what): n for source, what, n in db.execute("SELECT source, what, n FROM counts")}

    def letters(self, *, settled: bool = False) -> list[DeadLetter]:
        """Dead letters that are kept; with `settled` the others too. Oldest first."""
        with self._reading() as db:
            where = "" if settled else " WHERE state = 'kept'"
            return [letter_of(row) for row in db.execute(f"{LETTERS}{where} ORDER BY number")]

    def letter(self, number: int) -> DeadLetter | None:
        """One dead letter, whatever its state."""
        with self._reading() as db:
            row = db.execute(f"{LETTERS} WHERE number = ?", (number,)).fetchone()
            return None if row is None else letter_of(row)

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return reading(self._path)


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """One transaction on a ledger, so that all that is read in it is of one moment.

    Raises:
        StoreError: the file is missing, damaged or of another version.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no ledger yet; has the manager run with this folder?")
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"  # in WAL mode even a reader writes the shared index
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_WAIT_S, isolation_level=None)) as db:
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                raise StoreError(
                    f"{path}: schema {version}, this hidsctl reads {SCHEMA_VERSION}; "
                    "start a manager of the same version on it first"
                )
            yield db
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
