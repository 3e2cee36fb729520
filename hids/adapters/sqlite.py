"""What SQLite's errors mean to us: wait, or put the file aside."""

import sqlite3


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
