"""Which package owns which path, as of the last look at the databases: an index on disk, so that it costs no memory.

It keeps what a package owned before a change: a file that is gone after an upgrade was let go by its package, and only
the index still knows. It is a cache: one that is damaged is made anew.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from hids.adapters.sqlite import transaction
from hids.agent.packages.database import Aliases, PackageDatabase
from hids.core.syscheck.packages import Owned, Package, is_below

log = structlog.get_logger()

KEPT_MS = 7 * 24 * 3600 * 1000
"""How long it is known that a package let go of a path."""
CACHE_KIB = 256
"""Of pages in memory: questions are few, and SQLite would keep 2 MiB."""
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE about (root TEXT NOT NULL);
CREATE TABLE package (id INTEGER PRIMARY KEY, database TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
    version TEXT NOT NULL, stamp TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, UNIQUE (database, key));
CREATE TABLE file (path BLOB NOT NULL, package INTEGER NOT NULL, digest TEXT NOT NULL, conffile INTEGER NOT NULL,
    target BLOB NOT NULL, gone_ms INTEGER NOT NULL, PRIMARY KEY (path, package)) WITHOUT ROWID;
CREATE INDEX of_package ON file (package);
"""


class Owner(NamedTuple):
    """A package and what it says of a path."""

    package: str
    version: str
    owned: Owned
    from_ms: int
    """When the package was last installed, upgraded or removed: from this time ..."""
    to_ms: int
    """... to this."""
    gone: bool
    """It let go of the path then."""


class Owners:
    """The index. For one thread."""

    def __init__(self, path: Path, databases: Sequence[PackageDatabase], roots: Iterable[str]) -> None:
        """Open it, or make it.

        Args:
            path: of the index.
            databases: of this host.
            roots: only what lies below one of these is kept.
        """
        self._path = path
        self._databases = databases
        self._roots = tuple(os.fsencode(root.rstrip("/")) for root in sorted(roots))
        self._aliases = Aliases()
        self._looked_for = tuple(
            path for root in self._roots for path in (*self._aliases.spellings(root), *self._aliases.links_into(root))
        )
        """As databases may call them."""
        self._tokens: dict[str, object] = {}
        self._db = self._open()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sync(self, now_ms: int) -> None:
        """Take over what has changed in the databases."""
        for database in self._databases:
            token = database.token()
            if self._tokens.get(database.name) == token:
                continue
            with transaction(self._db):
                self._sync(database, now_ms)
            self._tokens[database.name] = token

    def of(self, path: bytes) -> list[Owner]:
        """The packages that own a path or did lately, the present ones first."""
        rows = self._db.execute(
            "SELECT name, version, path, digest, conffile, target, from_ms, to_ms, gone_ms FROM file "
            "JOIN package ON id=package WHERE path=? ORDER BY gone_ms>0, digest=''",
            (path,),
        )
        return [
            Owner(name, version, Owned(where, digest, bool(conffile), target), from_ms, to_ms, gone_ms > 0)
            for name, version, where, digest, conffile, target, from_ms, to_ms, gone_ms in rows
        ]

    # -- taking over

    def _sync(self, database: PackageDatabase, now_ms: int) -> None:
        rows = self._db.execute("SELECT key, id, stamp FROM package WHERE database=?", (database.name,))
        known = {key: (number, stamp) for key, number, stamp in rows}
        is_first = not known
        now = database.packages()
        for key, package in now.items():
            number, stamp = known.get(key, (0, ""))
            if stamp != package.stamp:
                # What was installed before anybody looked was not installed just now.
                to_ms = package.at_ms if is_first else now_ms
                self._take(database, key, number, package, to_ms, now_ms)
        for key, (number, stamp) in known.items():
            if key not in now and stamp:
                self._let_go(number, now_ms)
        gone = "SELECT id FROM package WHERE stamp='' AND to_ms<?"
        self._db.execute("DELETE FROM file WHERE gone_ms>0 AND gone_ms<?", (now_ms - KEPT_MS,))
        self._db.execute(f"DELETE FROM package WHERE id IN ({gone})", (now_ms - KEPT_MS,))  # noqa: S608 - a constant

    def _take(
        self, database: PackageDatabase, key: str, number: int, package: Package, to_ms: int, now_ms: int
    ) -> None:
        """A package that is new or has changed."""
        from_ms = package.at_ms or to_ms
        row = (package.name, package.version, package.stamp, from_ms, to_ms)
        if number:
            self._db.execute(
                "UPDATE package SET name=?, version=coalesce(nullif(?, ''), version), stamp=?, from_ms=?, to_ms=? WHERE id=?",
                (*row, number),
            )
            self._db.execute("UPDATE file SET gone_ms=? WHERE package=? AND gone_ms=0", (now_ms, number))
        else:
            number = (
                self._db.execute(
                    "INSERT INTO package (database, key, name, version, stamp, from_ms, to_ms) VALUES (?,?,?,?,?,?,?)",
                    (database.name, key, *row),
                ).lastrowid
                or 0
            )
        self._db.executemany(
            "INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,0)",
            (
                (path, number, each.digest, each.is_conffile, each.target)
                for each in database.owned(key, package, self._looked_for)
                if is_below(path := self._aliases.real(each.path), self._roots)
            ),
        )

    def _let_go(self, number: int, now_ms: int) -> None:
        self._db.execute("UPDATE package SET stamp='', from_ms=?, to_ms=? WHERE id=?", (now_ms, now_ms, number))
        self._db.execute("UPDATE file SET gone_ms=? WHERE package=? AND gone_ms=0", (now_ms, number))

    # -- the file

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            log.warning("the index of packages is made anew", path=str(self._path), reason=str(error))
            for name in (self._path, self._path.with_name(self._path.name + "-journal")):
                name.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            roots = os.fsdecode(b"\0".join((*self._roots, *(each.name.encode() for each in self._databases))))
            (version,) = db.execute("PRAGMA user_version").fetchone()
            known = db.execute("SELECT root FROM about").fetchone() if version == SCHEMA_VERSION else None
            if known != (roots.encode("utf-8", "backslashreplace").decode(),):
                self._create(db, roots)
        except BaseException:
            db.close()
            raise
        return db

    def _create(self, db: sqlite3.Connection, roots: str) -> None:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        drops = "".join(f"DROP TABLE {name};" for name in tables if name in ("about", "package", "file"))
        db.executescript(f"BEGIN; {drops} {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        db.execute("INSERT INTO about VALUES (?)", (roots.encode("utf-8", "backslashreplace").decode(),))
