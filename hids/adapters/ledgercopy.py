"""The last good copy of ledger.db: made beside a running lane, put in its place when the original is damaged.

A copy is one snapshot (VACUUM INTO), checked, on disk and only then named. What was committed after it is missing from
a ledger that was restored: agents say what they no longer have, and that becomes holes, each with an alert.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import structlog

from hids.adapters.files import sync_folder
from hids.adapters.ledger import renumber_derived
from hids.errors import StoreError

log = structlog.get_logger()

ROOM = 2.0
"""Times its size must be free before a copy is made: a copy shall not fill the disk."""


def copy_of(ledger: Path) -> Path:
    """Where the copy is."""
    return ledger.with_name(ledger.name + ".copy")


def make_copy(ledger: Path) -> bool:
    """Copy a ledger that may be in use. False: there is no room for it.

    Raises:
        StoreError: it cannot be read or written; the copy before it is untouched.
    """
    size = ledger.stat().st_size
    if shutil.disk_usage(ledger.parent).free < ROOM * size:
        return False
    draft = copy_of(ledger).with_suffix(".draft")
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=rw", uri=True)) as db:
            db.execute("VACUUM INTO ?", (str(draft),))
        with closing(sqlite3.connect(draft)) as db:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{ledger}: the copy of it is damaged, and so may it be: {verdict}")
        draft.chmod(0o600)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(copy_of(ledger))
        sync_folder(ledger.parent)
    except (sqlite3.Error, OSError) as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"{ledger}: cannot be copied: {error}") from error
    return True


def restore(ledger: Path, now_ms: int) -> int | None:
    """Put the copy in the place of a damaged ledger, which is kept under another name.

    Returns:
        When the copy was made, milliseconds since 1970; None when there is none, and nothing was changed.

    Raises:
        StoreError: the disk does not take it.
    """
    copy = copy_of(ledger)
    if not copy.exists():
        return None
    made_ms = copy.stat().st_mtime_ns // 1_000_000
    aside = ledger.with_name(f"{ledger.name}.damaged-{now_ms // 1000}")
    draft = copy.with_suffix(".draft")
    try:
        shutil.copyfile(copy, draft)  # the copy stays: it is the only one
        draft.chmod(0o600)
        with closing(sqlite3.connect(draft)) as db:
            renumber_derived(db, now_ms)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        ledger.replace(aside)
        for suffix in ("-wal", "-shm"):
            ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
        draft.replace(ledger)
        sync_folder(ledger.parent)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{ledger}: damaged, and the copy cannot be put in its place: {error}") from error
    log.error("ledger damaged, its copy is used", ledger=str(ledger), kept_as=str(aside), copy_made_ms=made_ms)
    return made_ms
