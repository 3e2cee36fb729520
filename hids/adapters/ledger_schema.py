"""Tables of ledger.db, and the steps from each version of them to the next."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlite_utils import Database

from hids.core.syscheck.paths import split
from hids.errors import StoreError

SCHEMA_VERSION = 3


def bring_up_to_date(db: sqlite3.Connection, path: Path, now_ms: int) -> None:
    """Make what is missing, each step in a transaction of its own; `now_ms` gives a new ledger the epoch of its derived lines.

    Raises:
        StoreError: a newer version wrote the file.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: schema {version} is newer than {SCHEMA_VERSION}, which this version knows; "
            "install the version that wrote it"
        )
    tables = Database(db)
    steps: tuple[Callable[[Database], None], ...] = (partial(_create, now_ms=now_ms), _add_proof, _add_history)
    for number, step in enumerate(steps, 1):
        if version < number:
            with tables.atomic():
                step(tables)
                db.execute(f"PRAGMA user_version={number}")


def _create(tables: Database, now_ms: int) -> None:
    tables.table("progress").create({"source": str, "epoch": int, "seq": int, "chain": bytes}, pk="source")
    tables.table("outbox").create({"first": int, "count": int, "data": bytes, "at_ms": int}, pk="first")
    tables.table("state").create(
        {"rule": str, "key": bytes, "data": bytes, "newest_ms": int}, pk=("rule", "key")
    ).create_index(["newest_ms"])
    tables.table("fired").create({"rule": str, "count": int}, pk="rule")
    tables.table("syscheck").create({"agent": str, "path": str, "fact": bytes}, pk=("agent", "path"))
    tables.table("derived").create(
        {
            "source": str,
            "first_seq": int,
            "count": int,
            "chain": bytes,
            "data": bytes,
            "agent": bytes,
        },
        pk=("source", "first_seq"),
    )
    tables.table("derived_end").create({"source": str, "seq": int, "chain": bytes}, pk="source")
    tables.table("hole").create(
        {"source": str, "epoch": int, "first": int, "last": int, "reason": str},
        pk=("source", "epoch", "first"),
    )
    tables.table("dead").create(
        {"source": str, "epoch": int, "seq": int, "reason": str, "line": bytes},
        pk=("source", "epoch", "seq"),
    )
    tables.table("digest").create(
        {"source": str, "digest": bytes, "epoch": int, "n": int}, pk=("source", "digest")
    ).create_index(["source", "n"])
    tables.table("counts").create({"source": str, "what": str, "n": int}, pk=("source", "what"))
    tables.table("meta").create({"name": str, "text": str, "number": int}, pk="name")
    tables.conn.execute("INSERT INTO meta VALUES ('derived_epoch', '', ?)", (max(1, now_ms // 1000),))


def _add_proof(tables: Database) -> None:
    """The quarantine with all that a replay takes, what each stretch of lines became, and suspects of the lane."""
    where = {"source": str, "epoch": int}
    tables.table("quarantine").create(
        {
            "number": int,
            **where,
            "seq": int,
            "reason": str,
            "text": bytes,
            "agent": bytes,
            "line": bytes,
            "at_ms": int,
            "state": str,
            "settled_ms": int,
        },
        pk="number",
        not_null=("state",),
        defaults={"state": "kept"},
    ).create_index(["source", "epoch", "seq"], unique=True)
    tables.conn.execute(
        "INSERT INTO quarantine (source, epoch, seq, reason, text) SELECT source, epoch, seq, reason, line FROM dead"
    )
    tables.table("dead").drop()
    tables.table("stretch").create(
        {**where, "hour": int, "first": int, "last": int}, pk=("source", "epoch", "hour", "first")
    ).create_index(["hour"])
    tables.table("tally").create(
        {**where, "hour": int, "what": str, "n": int}, pk=("source", "epoch", "hour", "what")
    ).create_index(["hour"])
    tables.table("suspect").create({**where, "seq": int, "deaths": int}, pk=("source", "epoch", "seq"))


def _add_history(tables: Database) -> None:
    """Baselines by folder, as digests and questions go; what changed and who answers for it; maintenances."""
    tables.conn.create_function("folder", 1, _folder, deterministic=True)
    tables.conn.execute(
        "CREATE TABLE baseline (agent TEXT, folder TEXT, name TEXT, fact BLOB NOT NULL, changes INTEGER NOT NULL, "
        "told BLOB NOT NULL, PRIMARY KEY (agent, folder, name)) WITHOUT ROWID"
    )
    tables.conn.execute(
        "INSERT INTO baseline SELECT agent, folder(path), substr(path, length(folder(path)) + 1), fact, 0, x'' "
        "FROM syscheck"
    )
    tables.table("syscheck").drop()
    tables.conn.execute(
        "CREATE TABLE history (number INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT, folder TEXT, name TEXT, "
        "at_ms INTEGER, stored_ms INTEGER, event TEXT, told BLOB, changes INTEGER, verdict TEXT, "
        "accepted_ms INTEGER DEFAULT 0, accepted_by TEXT DEFAULT '')"
    )
    tables.table("history").create_index(["agent", "folder", "name", "number"])
    tables.table("digest_check").create(
        {"id": str, "agent": str, "at_ms": int, "directories": int, "done": int}, pk="id"
    )
    tables.table("differing").create({"id": str, "folder": str}, pk=("id", "folder"))
    tables.table("baseline_order").create({"id": str, "at_ms": int, "data": bytes}, pk="id")
    tables.table("maintenance").create({"id": str, "ended_ms": int, "data": bytes}, pk="id")


def _folder(path: str) -> str:
    return split(path)[0]
