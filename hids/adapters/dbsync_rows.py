"""Rows of Wazuh's FIM databases as the manager knows them (`Rows` of hids.core.wire.ossec.dbsync), in SQLite.

A copy of what agents have: whatever is lost of it is asked for again. So nothing waits for the disk, a damaged file is made
anew, and what was not committed when a process ended did not happen.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import structlog

from hids.adapters.sqlite import is_damage
from hids.core.wire.ossec.dbsync import Row
from hids.errors import StoreError
from hids.messages.terms import AgentId

log = structlog.get_logger()

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE row (
    agent TEXT NOT NULL, component TEXT NOT NULL, key BLOB NOT NULL, checksum TEXT NOT NULL, path TEXT NOT NULL,
    PRIMARY KEY (agent, component, key)
) WITHOUT ROWID
"""


class DbSyncRows:
    """For one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()
        self._db: sqlite3.Connection | None = None
        with contextlib.suppress(StoreError):  # a disk may be full; the next use tries again
            self._open()

    def put(self, agent: AgentId, component: str, row: Row, limit: int) -> bool:
        """Add or replace one; False: the agent has `limit` already."""
        with self._writing() as db:
            changed = db.execute(
                "UPDATE row SET checksum = ?, path = ? WHERE agent = ? AND component = ? AND key = ?",
                (row.checksum, row.path, agent, component, row.key),
            )
            if changed.rowcount:
                return True
            if self._counts[agent] >= limit:
                return False
            db.execute("INSERT INTO row VALUES (?, ?, ?, ?, ?)", (agent, component, *row))
            self._counts[agent] += 1
            return True

    def remove(self, agent: AgentId, component: str, key: bytes) -> None:
        """Remove one, if it is there."""
        with self._writing() as db:
            gone = db.execute(
                "DELETE FROM row WHERE agent = ? AND component = ? AND key = ?", (agent, component, key)
            ).rowcount
            self._counts[agent] -= gone

    def checksums(self, agent: AgentId, component: str, begin: bytes, end: bytes) -> Iterator[str]:
        """Of all rows from one key through another, in byte order of the keys."""
        with self._guarded() as db:
            for (checksum,) in db.execute(
                "SELECT checksum FROM row WHERE agent = ? AND component = ? AND key BETWEEN ? AND ? ORDER BY key",
                (agent, component, begin, end),
            ):
                yield checksum

    def drop(
        self, agent: AgentId, component: str, above: bytes | None, below: bytes | None, limit: int
    ) -> tuple[str, ...]:
        """Remove rows strictly between two keys (None: no bound); returns the paths, `limit` at most."""
        bounds = [("key > ?", above), ("key < ?", below)]
        where = "".join(f" AND {text}" for text, bound in bounds if bound is not None)
        values = (agent, component, *(bound for _, bound in bounds if bound is not None))
        with self._writing() as db:
            found = db.execute(
                f"SELECT key, path FROM row WHERE agent = ? AND component = ?{where} ORDER BY key LIMIT ?",  # noqa: S608 - words of ours
                (*values, limit),
            ).fetchall()
            db.executemany(
                "DELETE FROM row WHERE agent = ? AND component = ? AND key = ?",
                ((agent, component, key) for key, _ in found),
            )
            self._counts[agent] -= len(found)
        return tuple(path for _, path in found)

    def keep_only(self, agents: set[AgentId]) -> None:
        """Forget all other agents."""
        for agent in self._counts.keys() - agents:
            with self._writing() as db:
                db.execute("DELETE FROM row WHERE agent = ?", (agent,))
                del self._counts[agent]

    def commit(self) -> None:
        """What was done since the last time has happened."""
        with self._guarded() as db:
            if db.in_transaction:
                db.execute("COMMIT")

    def close(self) -> None:
        """Close the file; what was not committed did not happen."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextlib.contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with self._guarded() as db:
            if not db.in_transaction:
                db.execute("BEGIN")
            yield db

    @contextlib.contextmanager
    def _guarded(self) -> Generator[sqlite3.Connection]:
        db = self._db or self._open()
        try:
            yield db
        except sqlite3.Error as error:
            log.warning("the copy of agents' lists of files was not written", path=str(self._path), reason=str(error))
            self.close()
            if is_damage(error):
                self._remove()
            raise StoreError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        """Open the file, or make it anew where it is damaged."""
        try:
            try:
                self._db = self._connect()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                log.warning("the copy of agents' lists of files is made anew", path=str(self._path), reason=str(error))
                self._remove()
                self._db = self._connect()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                db.executescript(f"DROP TABLE IF EXISTS row; {_SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION};")
            self._counts = Counter(dict(db.execute("SELECT agent, count(*) FROM row GROUP BY agent")))
        except BaseException:
            db.close()
            raise
        return db

    def _remove(self) -> None:
        for end in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
