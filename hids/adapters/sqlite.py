"""SQLite: a transaction, what errors mean to us (wait, or put the file aside), and how a file is put aside."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """All or nothing. For a connection with `isolation_level=None`; it waits for other writers as the connection does."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has ended it already
            db.execute("ROLLBACK")
        raise


def put_aside(path: Path, suffix: str) -> Path:
    """Move a file that is closed out of the way, to its name with `suffix`; returns that.

    Its log goes first: a log that were left would be taken for that of the next file.
    """
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    return path.replace(path.with_name(path.name + suffix))


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock: the same may be tried again."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no database, or a broken one."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error) -> int:
    """The result code without its extension; 0 where Python's own module raised."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
