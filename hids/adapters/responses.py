"""responses.db: every order, what became of it, and how far the responder has read. One transaction a step.

The cursor moves in the transaction that stores the orders: after a crash no alert is answered twice, and none is passed
over. Readers (`hidsctl response`) open it read-only.
"""

import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hids.adapters.sqlite import is_damage, put_aside, transaction
from hids.core.response.blocks import Blocks
from hids.core.response.ledger import Kept, OrderRow
from hids.errors import StoreDamaged, StoreError
from hids.messages.response import Respond

log = structlog.get_logger()

SCHEMA_VERSION = 1
MAX_ROWS = 50_000
"""Settled orders that are kept; older ones go."""
_KEEP_EVERY = 200
"""Steps between two cleanings."""

_FIELDS = OrderRow.__struct_fields__
_COLUMNS = ", ".join(f'"{name}"' for name in _FIELDS)
_SCHEMA = f"""
CREATE TABLE orders({_COLUMNS}, respond BLOB, PRIMARY KEY(id));
CREATE INDEX orders_at ON orders(at_ms);
CREATE INDEX orders_target ON orders(target);
CREATE INDEX orders_state ON orders(state);
CREATE TABLE history(id TEXT NOT NULL, at_ms INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX history_id ON history(id);
CREATE TABLE cursor(one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT INTO cursor VALUES (1, -1);
PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608 - no value of anybody's is in it

LIVE = ("open", "done", "undoing")
"""States in which something may be in force at an agent."""


class ResponseStore:
    """The responder's. For one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make it. A damaged file is put aside: agents know themselves what is in force, and until when.

        Raises:
            StoreError: it cannot be used.
        """
        self._path = path
        self._steps = 0
        try:
            self._db = _open(path)
        except StoreDamaged:
            aside = put_aside(path, ".damaged")
            log.error("responses are damaged; put aside, begun anew", path=str(path), aside=str(aside))  # noqa: TRY400
            self._db = _open(path)

    @property
    def cursor(self) -> int:
        """Number of the last alert that was judged; -1: none ever was, begin with the next one."""
        with self._reading():
            return int(self._db.execute("SELECT number FROM cursor").fetchone()[0])

    def commit(self, kept: Iterable[Kept], cursor: int | None = None) -> frozenset[str]:
        """Store new orders, and how far the alerts were read, at once; returns the ids that were new."""
        fresh: set[str] = set()
        with self._writing():
            for one in kept:
                values = msgspec.structs.astuple(one.row)
                marks = ", ".join("?" * (len(values) + 1))
                packed = None if one.respond is None else msgspec.msgpack.encode(one.respond)
                new = self._db.execute(
                    f"INSERT OR IGNORE INTO orders({_COLUMNS}, respond) VALUES ({marks})",  # noqa: S608 - names of ours
                    (*values, packed),
                )
                if new.rowcount:
                    fresh.add(one.row.id)
                    self._note(one.row.id, one.row.at_ms, one.row.state, one.row.reason)
            if cursor is not None:
                self._db.execute("UPDATE cursor SET number = ?", (cursor,))
            self._steps += 1
            if self._steps % _KEEP_EVERY == 0:
                self._clean()
        return frozenset(fresh)

    def settle(self, id_: str, state: str, text: str, at_ms: int, respond: Respond | None = None) -> None:
        """Note what has become of an order; `respond` replaces what is sent for it."""
        with self._writing():
            self._db.execute(
                "UPDATE orders SET state = ?, reason = ?, changed_ms = ?, respond = coalesce(?, respond) WHERE id = ?",
                (state, text, at_ms, None if respond is None else msgspec.msgpack.encode(respond), id_),
            )
            self._note(id_, at_ms, state, text)

    def row(self, id_: str) -> OrderRow | None:
        """One order."""
        return next(iter(self._rows("id = ?", (id_,))), None)

    def unanswered(self) -> list[Kept]:
        """What agents must still be told, oldest first."""
        with self._reading():
            found = self._db.execute(
                f"SELECT {_COLUMNS}, respond FROM orders WHERE state IN ('open', 'undoing') ORDER BY at_ms"  # noqa: S608
            ).fetchall()
        return [
            Kept(_row(values[:-1]), None if values[-1] is None else msgspec.msgpack.decode(values[-1], type=Respond))
            for values in found
        ]

    def live(self, now_ms: int) -> list[OrderRow]:
        """What may be in force."""
        return self._rows("state IN ('open', 'done', 'undoing') AND (until_ms = 0 OR until_ms > ?)", (now_ms,))

    def late(self, now_ms: int) -> list[OrderRow]:
        """What no agent took before its end."""
        return self._rows("state IN ('open', 'undoing') AND until_ms > 0 AND until_ms <= ?", (now_ms,))

    def restore(self, blocks: Blocks, now_ms: int) -> None:
        """Fill what the budget and the repeat rule need to know."""
        counted: set[tuple[str, str]] = set()
        for row in self._rows("state IN ('open', 'done', 'undone', 'undoing', 'shadow', 'failed') ORDER BY at_ms", ()):
            if row.state in (*LIVE, "shadow") and (row.until_ms == 0 or row.until_ms > now_ms):
                blocks.begin((row.command, row.agent, row.target), row.until_ms)
            reason = (row.alert, row.response)
            if row.alert and not row.renews and reason not in counted:  # once, on however many agents
                counted.add(reason)
                blocks.count(row.command, row.target, row.at_ms)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _rows(self, where: str, values: Sequence[object]) -> list[OrderRow]:
        with self._reading():
            found = self._db.execute(f"SELECT {_COLUMNS} FROM orders WHERE {where}", values).fetchall()  # noqa: S608
        return [_row(values) for values in found]

    def _note(self, id_: str, at_ms: int, state: str, text: str) -> None:
        self._db.execute("INSERT INTO history VALUES (?, ?, ?, ?)", (id_, at_ms, state, text))

    def _clean(self) -> None:
        self._db.execute(
            "DELETE FROM orders WHERE state NOT IN ('open', 'done', 'undoing') AND rowid <= "
            "(SELECT max(rowid) FROM orders) - ?",
            (MAX_ROWS,),
        )
        self._db.execute(
            "DELETE FROM orders WHERE state = 'done' AND until_ms BETWEEN 1 AND (SELECT max(at_ms) FROM orders) "
            "AND rowid <= (SELECT max(rowid) FROM orders) - ?",
            (MAX_ROWS,),
        )
        self._db.execute("DELETE FROM history WHERE id NOT IN (SELECT id FROM orders)")

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            with transaction(self._db):
                yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be written: {error}") from error

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be read: {error}") from error


class ResponseBook:
    """The same file as `hidsctl` sees it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, *, live_at_ms: int | None = None, text: str = "", limit: int = 1000) -> list[OrderRow]:
        """Orders, the newest first.

        Args:
            live_at_ms: only what may be in force at this time.
            text: only of this target, order or alert.
            limit: so many.
        """
        where, values = ["1"], list[object]()
        if live_at_ms is not None:
            where.append("state IN ('open', 'done', 'undoing') AND (until_ms = 0 OR until_ms > ?)")
            values.append(live_at_ms)
        if text:
            where.append("(target = ? OR id = ? OR alert = ?)")
            values += [text, text, text]
        sql = f"SELECT {_COLUMNS} FROM orders WHERE {' AND '.join(where)} ORDER BY at_ms DESC, id LIMIT ?"  # noqa: S608
        return [_row(found) for found in self._select(sql, (*values, limit))]

    def history(self, id_: str) -> list[tuple[int, str, str]]:
        """(when, state, words) of one order, in order."""
        sql = "SELECT at_ms, state, text FROM history WHERE id = ? ORDER BY rowid"
        return [(int(at_ms), str(state), str(text)) for at_ms, state, text in self._select(sql, (id_,))]

    def respond(self, id_: str) -> Respond | None:
        """What was last sent for an order, signature and all."""
        for (packed,) in self._select("SELECT respond FROM orders WHERE id = ?", (id_,)):
            if packed is not None:
                return msgspec.msgpack.decode(packed, type=Respond)
        return None

    def _select(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True)) as db:
                db.execute("PRAGMA query_only = ON")
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be read: {error}") from error


def _row(values: Sequence[object]) -> OrderRow:
    return msgspec.convert(dict(zip(_FIELDS, values, strict=True)), OrderRow, strict=False)


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used: {error}") from error
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db, path)
    except sqlite3.Error as error:
        db.close()
        kind = StoreDamaged if is_damage(error) else StoreError
        raise kind(f"{path}: cannot be used: {error}") from error
    except StoreError:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: is of a newer hids (schema {version}, this one knows {SCHEMA_VERSION}); upgrade")
    if version == 0:
        db.executescript("BEGIN;" + _SCHEMA + "COMMIT;")
