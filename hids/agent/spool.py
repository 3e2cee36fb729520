"""The spool: lines on disk from the moment they are read until the manager has committed them.

One SQLite file, synchronous FULL. Lines and the positions after them enter in one transaction, so after a crash
reading goes on exactly behind the last line that is here. A batch is cut once and is then an immutable row:

    batch      first_seq, count, chain, data    chain = SHA-256(chain before, data), see hids.core.wire.lines
    position   key, value                       where each source goes on reading; what syscheck has seen
    numbers    one row                          epoch, next sequence, and the chain at both ends

A damaged file is moved aside, never repaired: what it held would be a guess. The new one has a new epoch.
"""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import msgspec
import structlog

from hids.adapters.sqlite import put_aside, transaction
from hids.core.wire.lines import GENESIS, batched, link
from hids.errors import StoreError
from hids.messages.lines import Batch, LogLine

log = structlog.get_logger()

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE batch (first_seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, chain BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE position (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE numbers (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, previous_epoch INTEGER NOT NULL,
    oldest INTEGER NOT NULL, oldest_chain BLOB NOT NULL, next INTEGER NOT NULL, chain BLOB NOT NULL
);
"""
_MAX_VARIABLES = 500
"""In one statement; SQLite before 3.32 takes 999."""
_VACUUM_PAGES = 2_048
"""Free pages (8 MiB) above which trimming gives some back to the file system."""


class Numbers(msgspec.Struct, frozen=True):
    """What a HELLO says about the spool."""

    epoch: int
    previous_epoch: int
    """The epoch before a refusal or a damage; 0 for none."""
    oldest: int
    oldest_chain: bytes
    """Chain value of the line before `oldest`."""
    next: int
    chain: bytes
    """Chain value of the line before `next`."""

    @property
    def lines(self) -> int:
        """Lines that wait for the manager."""
        return self.next - self.oldest


class Spool:
    """One spool file. For one thread at a time."""

    def __init__(self, db: sqlite3.Connection, *, replaces_damaged: bool = False) -> None:
        self._db = db
        self.replaces_damaged = replaces_damaged
        """This is a new file in the place of a damaged one."""
        row = db.execute("SELECT epoch, previous_epoch, oldest, oldest_chain, next, chain FROM numbers").fetchone()
        self._numbers = Numbers(*row)
        self._bytes: int = db.execute("SELECT coalesce(sum(length(data)), 0) FROM batch").fetchone()[0]

    @classmethod
    def open(cls, path: Path, now_ms: int) -> Self:
        """Open the spool, or make it. A damaged one is moved aside, with an error in the log.

        Raises:
            StoreError: the file cannot be opened, or was written by a newer version.
        """
        previous_epoch = 0
        try:
            damaged = path.exists() and not _is_sound(path)
            if damaged:
                previous_epoch = _set_aside(path, now_ms)
            return cls(_connect(path, now_ms, previous_epoch), replaces_damaged=damaged)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{path}: cannot open the spool: {error}; check free space and who owns the folder"
            ) from error

    def close(self) -> None:
        """Close the file; nothing that was appended depends on it."""
        self._db.close()

    @property
    def numbers(self) -> Numbers:
        """Epoch, sequences and chain as of the last transaction."""
        return self._numbers

    @property
    def packed_bytes(self) -> int:
        """Packed bytes of all batches."""
        return self._bytes

    def append(self, lines: Sequence[LogLine], positions: Mapping[str, bytes | None]) -> None:
        """Store lines, and the positions after them, in one transaction. A position of None is forgotten.

        Raises:
            sqlite3.Error: nothing of it was stored (disk full, I/O error).
        """
        numbers, added = self._numbers, 0
        with transaction(self._db):
            for count, data in batched(lines):
                chain = link(numbers.chain, data)
                self._db.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (numbers.next, count, chain, data))
                numbers = msgspec.structs.replace(numbers, next=numbers.next + count, chain=chain)
                added += len(data)
            self._remember(positions)
            self._write_numbers(numbers)
        self._numbers = numbers
        self._bytes += added

    def batches(self, from_seq: int, limit_bytes: int) -> tuple[Batch, ...]:
        """Batches in order, the first one starting at `from_seq`: at least one if there is one, then up to the limit.

        Empty when there is no batch that starts there.
        """
        found: list[Batch] = []
        rows = self._db.execute(
            "SELECT first_seq, count, chain, data FROM batch WHERE first_seq >= ? ORDER BY first_seq", (from_seq,)
        )
        with closing(rows):
            for first_seq, count, chain, data in rows:
                limit_bytes -= len(data)
                if (found and limit_bytes < 0) or (not found and first_seq != from_seq):
                    break
                found.append(Batch(epoch=self._numbers.epoch, first_seq=first_seq, count=count, chain=chain, data=data))
        return tuple(found)

    def positions(self, prefix: str) -> dict[str, bytes]:
        """All positions whose key starts with `prefix`."""
        end = prefix + "\U0010ffff"
        return dict(
            self._db.execute("SELECT key, value FROM position WHERE key >= ? AND key < ?", (prefix, end)).fetchall()
        )

    def positions_of(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these positions that are there."""
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _MAX_VARIABLES):
            part = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            found |= dict(self._db.execute(f"SELECT key, value FROM position WHERE key IN ({marks})", part).fetchall())  # noqa: S608 - question marks
        return found

    def positions_from(self, first: str, end: str, limit: int) -> list[tuple[str, bytes]]:
        """The first positions from the key `first` on and before `end`, in order of keys."""
        return self._db.execute(
            "SELECT key, value FROM position WHERE key >= ? AND key < ? ORDER BY key LIMIT ?", (first, end, limit)
        ).fetchall()

    def last_position(self, prefix: str, key: str) -> tuple[str, bytes, str]:
        """The last position under a prefix whose key is not after `key`, and the key after it; empty for none."""
        row: tuple[str, bytes] | None = self._db.execute(
            "SELECT key, value FROM position WHERE key >= ? AND key <= ? ORDER BY key DESC LIMIT 1", (prefix, key)
        ).fetchone()
        after: tuple[str] | None = self._db.execute(
            "SELECT key FROM position WHERE key > ? AND key < ? ORDER BY key LIMIT 1", (key, prefix + "\U0010ffff")
        ).fetchone()
        found, value = row or ("", b"")
        return found, value, after[0] if after else ""

    def trim(self, through_seq: int) -> None:
        """Forget the batches that end at or before `through_seq`.

        Raises:
            sqlite3.Error: nothing was forgotten.
        """
        done = self._db.execute(
            "SELECT first_seq + count, chain FROM batch WHERE first_seq + count - 1 <= ? "
            "ORDER BY first_seq DESC LIMIT 1",
            (through_seq,),
        ).fetchone()
        if done is None:
            return
        numbers = msgspec.structs.replace(self._numbers, oldest=done[0], oldest_chain=done[1])
        with transaction(self._db):
            freed: int = self._db.execute(
                "SELECT sum(length(data)) FROM batch WHERE first_seq < ?", (numbers.oldest,)
            ).fetchone()[0]
            self._db.execute("DELETE FROM batch WHERE first_seq < ?", (numbers.oldest,))
            self._write_numbers(numbers)
        self._numbers = numbers
        self._bytes -= freed
        if self._db.execute("PRAGMA freelist_count").fetchone()[0] > _VACUUM_PAGES:
            self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES // 2})").fetchall()

    def new_epoch(self, after: int, now_ms: int) -> None:
        """Number what is here anew, from 1, in an epoch larger than `after`.

        The data of each batch stays as it is, so the manager recognises what it has committed before.

        Raises:
            sqlite3.Error: the old epoch still holds.
        """
        old = self._numbers
        chain, seq = GENESIS, 1
        with transaction(self._db):
            for first_seq, count in self._db.execute(
                "SELECT first_seq, count FROM batch ORDER BY first_seq"
            ).fetchall():
                (data,) = self._db.execute("SELECT data FROM batch WHERE first_seq = ?", (first_seq,)).fetchone()
                chain = link(chain, data)
                # A new number is never above the old one, and the rows below have moved already: no collision.
                self._db.execute(
                    "UPDATE batch SET first_seq = ?, chain = ? WHERE first_seq = ?", (seq, chain, first_seq)
                )
                seq += count
            numbers = Numbers(
                epoch=max(old.epoch + 1, after + 1, now_ms // 1000),
                previous_epoch=old.epoch,
                oldest=1,
                oldest_chain=GENESIS,
                next=seq,
                chain=chain,
            )
            self._write_numbers(numbers)
        self._numbers = numbers

    def _remember(self, positions: Mapping[str, bytes | None]) -> None:
        for key, value in positions.items():
            if value is None:
                self._db.execute("DELETE FROM position WHERE key = ?", (key,))
            else:
                self._db.execute("INSERT OR REPLACE INTO position VALUES (?, ?)", (key, value))

    def _write_numbers(self, numbers: Numbers) -> None:
        _write_numbers(self._db, numbers)


def _write_numbers(db: sqlite3.Connection, numbers: Numbers) -> None:
    db.execute(
        "INSERT OR REPLACE INTO numbers VALUES (1, :epoch, :previous_epoch, :oldest, :oldest_chain, :next, :chain)",
        msgspec.structs.asdict(numbers),
    )


def _connect(path: Path, now_ms: int, previous_epoch: int) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    # An actor is made on one thread and lives on another; never both at a time.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA cache_size = -512")  # KiB; the system's cache holds the rest
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(  # noqa: TRY301 - the connection is closed below
                f"{path}: written by a newer hids (schema {version}, this one knows {SCHEMA_VERSION}); upgrade hids"
            )
        if version == 0:
            epoch = max(previous_epoch + 1, now_ms // 1000)
            numbers = Numbers(epoch, previous_epoch, 1, GENESIS, 1, GENESIS)
            db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};")
            _write_numbers(db, numbers)
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _is_sound(path: Path) -> bool:
    """Tell whether SQLite finds the file whole.

    Raises:
        sqlite3.OperationalError: it cannot be looked at (rights, disk): that says nothing about the file.
    """
    try:
        with closing(sqlite3.connect(path)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


def _set_aside(path: Path, now_ms: int) -> int:
    """Move a damaged spool out of the way; return its epoch if that can still be read, else 0."""
    epoch = 0
    try:
        with closing(sqlite3.connect(path)) as db:
            epoch = int(db.execute("SELECT epoch FROM numbers").fetchone()[0])
    except (sqlite3.Error, TypeError, ValueError):
        pass  # damaged there as well: the clock gives a new epoch
    aside = put_aside(path, f".damaged-{now_ms // 1000}")
    log.error(
        "spool damaged, starting a new one",
        spool=str(path),
        kept_as=str(aside),
        consequence="lines that were read but not delivered may be lost; check the disk",
    )
    return epoch
