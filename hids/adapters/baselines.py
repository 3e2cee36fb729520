"""Reads from ledger.db what is known of agents' files: baselines, their history, checks, maintenances.

Beside a running manager or without one; a reader never writes.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from hids.adapters.ledger import baseline_of
from hids.adapters.proof import reading
from hids.core.syscheck.change import IGNORED
from hids.core.syscheck.paths import range_of, split
from hids.messages.baseline import Baseline, Maintenance

_maintenance_decoder = msgspec.msgpack.Decoder(Maintenance)

_BELOW = "((folder>=? AND folder<?) OR (folder=? AND name=?))"
_OPEN = "(accepted_ms=0 AND verdict NOT IN ('package', 'maintenance'))"
_COLUMNS = "number, agent, folder || name, at_ms, event, told, changes, accepted_ms, accepted_by"


class Known(msgspec.Struct, frozen=True):
    """What is known of one agent."""

    agent: str
    paths: int
    changes: int
    """That nobody has accepted, and no package or maintenance answers for."""
    last_ms: int
    """Event time of the last one; 0: none is kept."""


class Entry(msgspec.Struct, frozen=True):
    """One change of a path."""

    number: int
    agent: str
    path: str
    at_ms: int
    event: str
    told: dict[str, Any]
    """The alert's `syscheck` member."""
    changes: int
    accepted_ms: int
    accepted_by: str


class Outcome(msgspec.Struct, frozen=True):
    """What comparing digests has shown."""

    directories: int
    differing: tuple[str, ...]


class Baselines:
    """The ledger at `path`, for reading. Every method raises `StoreError` when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def agents(self) -> list[Known]:
        """All agents of which something is known."""
        with reading(self._path) as db:
            paths = dict(db.execute("SELECT agent, count(*) FROM baseline GROUP BY agent").fetchall())
            rows = db.execute(f"SELECT agent, sum({_OPEN}), max(at_ms) FROM history GROUP BY agent")  # noqa: S608 - a constant
            changes = {agent: (n, last_ms) for agent, n, last_ms in rows}
        return [Known(agent, paths.get(agent, 0), *changes.get(agent, (0, 0))) for agent in sorted({*paths, *changes})]

    def changes(
        self,
        agent: str,
        path: str = "",
        *,
        limit: int,
        since_ms: int = 0,
        answered: bool = False,
        registry: bool = False,
    ) -> list[Entry]:
        """Changes at a path and below it, the newest first; of all paths for an empty one.

        `answered`: also those that were accepted, and those for which a package or a maintenance answers.
        """
        query = f"SELECT {_COLUMNS} FROM history WHERE agent=? AND {_BELOW} AND at_ms>=?"  # noqa: S608 - constants
        query += "" if answered else f" AND {_OPEN}"
        query += " AND (folder LIKE '%HKEY\\_%' ESCAPE '\\' OR name LIKE 'HKEY\\_%' ESCAPE '\\')" if registry else ""
        with reading(self._path) as db:
            rows = db.execute(
                f"{query} ORDER BY number DESC LIMIT ?", (agent, *range_of(path), *split(path), since_ms, limit)
            ).fetchall()
        return [_entry(row) for row in rows]

    def history(self, path: str, agent: str = "", *, limit: int) -> list[Entry]:
        """Changes of this very path, the oldest first; on all agents for none."""
        rows: list[tuple[Any, ...]] = []
        with reading(self._path) as db:
            for each in [agent] if agent else _agents(db, "history"):
                rows += db.execute(
                    f"SELECT {_COLUMNS} FROM history WHERE agent=? AND folder=? AND name=? ORDER BY number DESC LIMIT ?",  # noqa: S608
                    (each, *split(path), limit),
                ).fetchall()[::-1]
        return [_entry(row) for row in rows]

    def at(self, path: str, agent: str = "") -> dict[str, Baseline]:
        """What is known of a path, by agent."""
        found: dict[str, Baseline] = {}
        with reading(self._path) as db:
            for each in [agent] if agent else _agents(db, "baseline"):
                row = db.execute(
                    "SELECT fact, changes, told FROM baseline WHERE agent=? AND folder=? AND name=?",
                    (each, *split(path)),
                ).fetchone()
                if row is not None:
                    found[each] = baseline_of(*row)
        return found

    def below(self, agent: str, path: str) -> Iterator[Baseline]:
        """What is known of a path and all below it, by folder and name."""
        with reading(self._path) as db:
            for row in db.execute(
                f"SELECT fact, changes, told FROM baseline WHERE agent=? AND {_BELOW} ORDER BY folder, name",  # noqa: S608
                (agent, *range_of(path), *split(path)),
            ):
                yield baseline_of(*row)

    def last_change(self) -> int:
        """Number of the newest change; 0 for none."""
        with reading(self._path) as db:
            number: int = db.execute("SELECT coalesce(max(number), 0) FROM history").fetchone()[0]
            return number

    def is_carried_out(self, order: str) -> bool:
        """Whether an order is committed."""
        with reading(self._path) as db:
            return db.execute("SELECT 1 FROM baseline_order WHERE id=?", (order,)).fetchone() is not None

    def check(self, check: str) -> Outcome | None:
        """What a comparison has shown; None while it is not done."""
        with reading(self._path) as db:
            row = db.execute("SELECT directories FROM digest_check WHERE id=? AND done", (check,)).fetchone()
            folders = db.execute("SELECT folder FROM differing WHERE id=? ORDER BY folder", (check,)).fetchall()
        return None if row is None else Outcome(row[0], tuple(folder for (folder,) in folders))

    def maintenances(self) -> list[Maintenance]:
        """All that are kept, the last one first."""
        with reading(self._path) as db:
            rows = db.execute("SELECT data FROM maintenance").fetchall()
        return sorted((_maintenance_decoder.decode(row[0]) for row in rows), key=lambda each: -each.start_ms)


def _agents(db: sqlite3.Connection, table: str) -> list[str]:
    """Those in a table, each found through the index: there are few, and many rows of each."""
    found: list[str] = []
    last = ""
    while True:
        (following,) = db.execute(f"SELECT min(agent) FROM {table} WHERE agent>?", (last,)).fetchone()  # noqa: S608
        if following is None:
            return found
        found.append(following)
        last = following


def _entry(row: tuple[Any, ...]) -> Entry:
    number, agent, path, at_ms, event, told, changes, accepted_ms, accepted_by = row
    return Entry(
        number=number,
        agent=agent,
        path=path,
        at_ms=at_ms,
        event=event,
        told=msgspec.json.decode(told),
        changes=0 if changes >= IGNORED else changes,
        accepted_ms=accepted_ms,
        accepted_by=accepted_by,
    )
