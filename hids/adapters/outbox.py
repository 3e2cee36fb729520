"""Outbox: the committed alerts, as every output reads them behind its own cursor.

The lane writes them to `ledger.db` in the transaction that commits the lines they are about. Alerts are
numbered from 1 without gaps. A row holds `count` alerts from number `first` on, as zstd of their JSON lines.
Rows that every output has passed are deleted by the lane, so a reader may find that the oldest rows are gone.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import structlog

from hids.adapters.sqlite import is_busy
from hids.core.packed import unpack
from hids.errors import StoreError

READ_BYTES = 8 * 1024 * 1024
"""A read stops after this much unpacked text, so that a reader that lags far behind stays small."""

_BUSY_WAIT_S = 2.0
"""How long SQLite waits for a lock before it gives up; readers of a WAL meet one only while it is
recovered."""

_ROWS = """
    SELECT first, count, data FROM outbox
    WHERE first >= coalesce((SELECT max(first) FROM outbox WHERE first <= :number), 0)
      AND first + count > :number
    ORDER BY first LIMIT :limit
"""

_NEWEST = """
    SELECT (SELECT max(first + count) FROM outbox), (SELECT max(number) FROM meta WHERE name = 'next_alert')
"""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Numbered(msgspec.Struct):
    number: int


class _Alert(msgspec.Struct):
    hids: _Numbered


_alert = msgspec.json.Decoder(_Alert)


def alert_number(line: bytes) -> int | None:
    """The outbox number that an alert's JSON line carries; None when it is no alert of ours."""
    try:
        return _alert.decode(line).hids.number
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class OutboxRow(msgspec.Struct, frozen=True):
    """Alerts that were committed together."""

    first: int
    count: int
    lines: bytes
    """The alerts' JSON, each ending in a newline."""

    @property
    def last(self) -> int:
        """Number of the row's last alert."""
        return self.first + self.count - 1

    def after(self, number: int) -> bytes:
        """The lines of the alerts above `number`."""
        if number < self.first:
            return self.lines
        return self.lines.split(b"\n", number - self.first + 1)[-1]


class Outbox:
    """Reads the outbox of the ledger at `path`, which need not exist yet. For one thread.

    Each read is a transaction of its own, over before it returns, so that a slow output never keeps the
    ledger's write-ahead log from being cut. Raises `StoreError` when the ledger cannot be used as it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def read(self, after: int, limit: int = 256) -> list[OutboxRow]:
        """Rows that hold alerts above number `after`, in order: at most `limit` rows or about `READ_BYTES`.

        The first may begin at or below `after`. Empty when there is nothing new, or when the ledger is
        locked: ask again later.
        """
        rows: list[OutboxRow] = []
        try:
            for row in self._select(after + 1, limit):
                rows.append(row)
                if sum(len(row.lines) for row in rows) >= READ_BYTES:
                    break
        except sqlite3.Error as error:
            if is_busy(error):
                log.warning("ledger is locked, reading later", path=str(self._path))
            elif str(error) != "no such table: outbox":  # the lane has made the file, but not yet its tables
                raise StoreError(f"{self._path}: the outbox cannot be read: {error}") from error
        return rows

    def newest(self) -> int:
        """Number of the newest alert that is committed; 0 while there is none.

        An output that starts must ask here: what main has heard of the lane may be older than what this output's life
        before has read and written.

        Raises:
            StoreError: the ledger is locked or cannot be read.
        """
        try:
            db = self._connect()
            if db is None:
                return 0
            with closing(db.execute(_NEWEST)) as found:
                behind, kept = found.fetchone()
        except sqlite3.Error as error:
            if str(error).startswith("no such table"):
                return 0
            raise StoreError(f"{self._path}: the outbox cannot be read: {error}") from error
        return max(int(behind or 1), int(kept or 1)) - 1

    def close(self) -> None:
        """Close the ledger. A later read opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _select(self, number: int, limit: int) -> Iterator[OutboxRow]:
        """Rows from the one on in which alert `number` lies. The transaction ends with the iteration."""
        db = self._connect()
        if db is None:
            return
        with closing(db.execute(_ROWS, {"number": number, "limit": limit})) as found:
            for first, count, data in found:
                try:
                    row = OutboxRow(first=first, count=count, lines=unpack(data))
                except ValueError as error:
                    raise StoreError(f"{self._path}: outbox row {first} is damaged: it {error}") from error
                if (got := row.lines.count(b"\n")) != count:
                    raise StoreError(f"{self._path}: outbox row {first} is damaged: {count} alerts expected, got {got}")
                yield row

    def _connect(self) -> sqlite3.Connection | None:
        if self._db is None and self._path.exists():
            # Not mode=ro: in WAL mode even a reader writes the shared index. `query_only` keeps it to that.
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            self._db = sqlite3.connect(uri, uri=True, timeout=_BUSY_WAIT_S, isolation_level=None)
            self._db.execute("PRAGMA query_only = ON")
        return self._db
