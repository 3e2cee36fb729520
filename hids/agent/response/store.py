"""The agent's list of orders on disk: what was taken, what is in force until when, and what the manager does not know yet.

An order is here before it is carried out and its end is here as long as it lasts. So none is done twice, and no crash
leaves something behind for which there is no end.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hids.core.response.order import target_of
from hids.errors import StoreError
from hids.messages.response import ResponseOrder, ResponseState

SCHEMA_VERSION = 1
MAX_SETTLED = 20_000
"""Ids of orders that are over are kept in this number: an old order that comes again is known."""
_CLEAN_EVERY = 500

_COLUMNS = "id, body, state, text, until_ms, applied_ms, proven, told, changed_ms, signature"


class Held(msgspec.Struct):
    """One order at this agent."""

    id: str
    body: bytes
    """msgpack of the `ResponseOrder`."""
    state: str
    """taken (it may be done by half), done, ran (done, and nothing to undo), failed, refused, undone."""
    text: str = ""
    until_ms: int = 0
    """By this agent's clock; 0: never."""
    applied_ms: int = 0
    proven: bool = True
    """The manager was heard after it was done: it does not cut us off."""
    told: bool = False
    """The manager has noted it."""
    changed_ms: int = 0
    signature: bytes = b""

    @property
    def order(self) -> ResponseOrder:
        """What was ordered."""
        return msgspec.msgpack.decode(self.body, type=ResponseOrder)

    @property
    def key(self) -> tuple[str, str]:
        """What it does to whom: several orders may be about the same."""
        order = self.order
        return order.action, target_of(order)


class AgentResponseStore:
    """For one thread. Every change is on disk when the call returns; StoreError when it is not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changes = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA_VERSION:
                raise StoreError(f"{path}: is of a newer hids (schema {version}); upgrade this agent")
            if version == 0:
                self._db.executescript(
                    "BEGIN; CREATE TABLE orders(id TEXT PRIMARY KEY, body BLOB NOT NULL, state TEXT NOT NULL, text TEXT "
                    "NOT NULL, until_ms INTEGER NOT NULL, applied_ms INTEGER NOT NULL, proven INTEGER NOT NULL, told "
                    "INTEGER NOT NULL, changed_ms INTEGER NOT NULL, signature BLOB NOT NULL);"
                    f"CREATE INDEX orders_state ON orders(state); PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
        except sqlite3.Error as error:
            raise StoreError(f"{path}: cannot be used: {error}") from error

    def put(self, held: Held) -> None:
        """Store an order, new or changed."""
        with self._failing():
            self._db.execute(
                f"INSERT OR REPLACE INTO orders({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    *(held.id, held.body, held.state, held.text, held.until_ms, held.applied_ms),
                    *(held.proven, held.told, held.changed_ms, held.signature),
                ),
            )
            self._changes += 1
            if self._changes % _CLEAN_EVERY == 0:
                self._db.execute(
                    "DELETE FROM orders WHERE state NOT IN ('taken', 'done') AND told AND rowid <= "
                    "(SELECT max(rowid) FROM orders) - ?",
                    (MAX_SETTLED,),
                )

    def get(self, id_: str) -> Held | None:
        """One order."""
        return next(iter(self._select("id = ?", (id_,))), None)

    def in_force(self) -> list[Held]:
        """What is done, or may be, and not undone."""
        return self._select("state IN ('taken', 'done') ORDER BY rowid", ())

    def untold(self) -> list[Held]:
        """What the manager has not noted."""
        return self._select("NOT told AND state != 'taken' ORDER BY changed_ms", ())

    def noted(self, id_: str, state: str) -> None:
        """The manager has noted this state."""
        with self._failing():
            states = (state, "ran" if state == "done" else state)
            self._db.execute("UPDATE orders SET told = 1 WHERE id = ? AND state IN (?, ?)", (id_, *states))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _select(self, where: str, values: tuple[object, ...]) -> list[Held]:
        with self._failing():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM orders WHERE {where}", values).fetchall()  # noqa: S608
        return [
            Held(id_, body, state, text, until, applied, bool(proven), bool(told), changed, signature)
            for id_, body, state, text, until, applied, proven, told, changed, signature in rows
        ]

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; check free space") from error


def said(held: Held) -> ResponseState:
    """What the manager is told."""
    states: dict[str, ResponseState] = {"done": "done", "ran": "done", "failed": "failed", "undone": "undone"}
    return states.get(held.state, "refused")
