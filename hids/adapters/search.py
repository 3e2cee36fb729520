"""Search: reads `search.db`, where people look for alerts; filled by search_index."""

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hids.adapters.search_query import Query, select
from hids.adapters.search_schema import BUSY_WAIT_S, VERSION
from hids.core.packed import unpack
from hids.errors import StoreError


class IncidentRow(msgspec.Struct, frozen=True):
    """One incident, as its alerts tell it."""

    id: str
    first_ms: int
    last_ms: int
    """Event time of its first and last alert."""
    count: int
    """Alerts."""
    level: int
    """The highest."""
    key: dict[str, str]
    """What it is about."""
    agents: tuple[str, ...]
    """Ids of those that it was seen on."""
    rules: tuple[int, ...]


class RequirementRow(msgspec.Struct, frozen=True):
    """Alerts about one requirement of a framework of compliance."""

    framework: str
    requirement: str
    alerts: int
    level: int
    """Highest."""
    last_ms: int
    agents: tuple[str, ...]
    rules: tuple[int, ...]
    """Those that told most come first."""


class Search:
    """Reads `search.db`, while it is being written. For one thread.

    Each question is a short transaction of its own. Raises `StoreError` when there is no index or it is
    damaged.
    """

    def __init__(self, path: Path) -> None:
        self._inode = _inode(path)  # before the file is opened: a change in between must show
        if not self._inode:
            raise StoreError(f"{path}: there is no search index yet; it is made when the manager first runs")
        self._path = path
        self._block: tuple[int, list[bytes]] = (0, [])
        uri = f"{path.absolute().as_uri()}?mode=ro"
        if not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK):
            uri += "&immutable=1"  # nobody writes, and the files that reading needs cannot be made
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=BUSY_WAIT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        try:
            self._check_version()
        except StoreError:
            self._db.close()
            raise

    def find(self, query: Query) -> Iterator[tuple[int, bytes]]:
        """Numbers and JSON lines (without newline) of the alerts that `query` asks for, in its order."""
        sql, values = select(query)
        # Numbers first, blocks after: however slowly the caller takes them, no transaction stays open.
        for (number,) in self._ask(sql, values):
            if (line := self._line(number)) is not None:
                yield number, line

    def incidents(
        self, *, since_ms: int = 0, level_min: int = 0, agent: str | None = None, limit: int = 50
    ) -> list[IncidentRow]:
        """Incidents that went on since a time, the latest first. `agent` is an id or a name."""
        sql = (
            "SELECT id, first_ms, last_ms, count, level, key FROM incidents WHERE last_ms >= :since AND level >= :level"
        )
        values: dict[str, Any] = {"since": since_ms, "level": level_min, "limit": limit}
        if agent is not None:
            sql += (
                " AND id IN (SELECT incident FROM incident_alerts WHERE agent = :agent"
                " OR agent IN (SELECT id FROM agents WHERE name = :agent))"
            )
            values["agent"] = agent.encode(errors="replace").decode()
        return list(map(self._incident, self._ask(f"{sql} ORDER BY last_ms DESC, id LIMIT :limit", values)))

    def incident(self, name: str) -> IncidentRow | None:
        """One incident by its id."""
        sql = "SELECT id, first_ms, last_ms, count, level, key FROM incidents WHERE id = :id"
        found = self._ask(sql, {"id": name.encode(errors="replace").decode()})
        return self._incident(found[0]) if found else None

    def alerts_of(self, incident: str, limit: int) -> Iterator[tuple[int, bytes]]:
        """Its first alerts, in the order in which they came."""
        sql = "SELECT number FROM incident_alerts WHERE incident = :id ORDER BY number LIMIT :limit"
        for (number,) in self._ask(sql, {"id": incident, "limit": limit}):
            if (line := self._line(number)) is not None:
                yield number, line

    def _incident(self, row: tuple[Any, ...]) -> IncidentRow:
        name, first_ms, last_ms, count, level, key = row
        alerts = {"id": name}
        agents = self._ask("SELECT DISTINCT agent FROM incident_alerts WHERE incident = :id ORDER BY agent", alerts)
        rules = self._ask("SELECT DISTINCT rule FROM incident_alerts WHERE incident = :id ORDER BY rule", alerts)
        about = msgspec.json.decode(key, type=dict[str, str])
        return IncidentRow(
            name, first_ms, last_ms, count, level, about, tuple(a for (a,) in agents), tuple(r for (r,) in rules)
        )

    def compliance(
        self, framework: str, *, since_ms: int = 0, level_min: int = 0, agent: str | None = None
    ) -> list[RequirementRow]:
        """What alerts since a time say of each requirement of a framework (a key of FRAMEWORKS)."""
        prefix = framework + "_"
        sql = (
            "SELECT name, rule, agent, count(*), max(level), max(at_ms) FROM alerts JOIN groups USING (rule)"
            " WHERE substr(name, 1, :length) = :prefix AND at_ms >= :since AND level >= :level"
        )
        values: dict[str, Any] = {"length": len(prefix), "prefix": prefix, "since": since_ms, "level": level_min}
        if agent is not None:
            sql += " AND (agent = :agent OR agent IN (SELECT id FROM agents WHERE name = :agent))"
            values["agent"] = agent.encode(errors="replace").decode()
        found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for name, *rest in self._ask(sql + " GROUP BY name, rule, agent ORDER BY name", values):
            found[name[len(prefix) :]].append(tuple(rest))
        return [_requirement(framework, requirement, rows) for requirement, rows in found.items()]

    def newest(self) -> int:
        """Number of the last alert in the index; 0 for none."""
        number: int = self._ask("SELECT number FROM cursor")[0][0]
        return number

    def data_version(self) -> int:
        """A number that changes when the index was written."""
        version: int = self._ask("PRAGMA data_version")[0][0]
        return version

    def replaced(self) -> bool:
        """Whether the index was put aside: another file will take its place, if it has not yet."""
        return _inode(self._path) != self._inode

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _check_version(self) -> None:
        version = self._ask("PRAGMA user_version")[0][0]
        if version != VERSION:
            raise StoreError(f"{self._path}: the search index is of version {version}, this program reads {VERSION}")

    def _ask(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            with closing(self._db.execute(sql, values or {})) as found:
                return found.fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: the search index cannot be read: {error}")

    def _line(self, number: int) -> bytes | None:
        first, lines = self._block
        if not first <= number < first + len(lines):
            found = self._ask(
                "SELECT first, count, data FROM blocks WHERE first <= :number ORDER BY first DESC LIMIT 1",
                {"number": number},
            )
            if not found or number >= found[0][0] + found[0][1]:
                return None  # the alert's time was up between the two questions
            first, lines = found[0][0], self._lines(found[0][2])
            self._block = first, lines
        return lines[number - first]

    def _lines(self, data: bytes) -> list[bytes]:
        try:
            return unpack(data).split(b"\n")
        except ValueError as error:
            raise StoreError(f"{self._path}: the search index is damaged: a block {error}") from error


def _requirement(framework: str, requirement: str, rows: list[tuple[Any, ...]]) -> RequirementRow:
    """Rows of (rule, agent, alerts, highest level, last time) as one."""
    by_rule: Counter[int] = Counter()
    for rule, _, alerts, _, _ in rows:
        by_rule[rule] += alerts
    return RequirementRow(
        framework=framework,
        requirement=requirement,
        alerts=by_rule.total(),
        level=max(row[3] for row in rows),
        last_ms=max(row[4] for row in rows),
        agents=tuple(sorted({row[1] for row in rows})),
        rules=tuple(rule for rule, _ in by_rule.most_common()),
    )


def _inode(path: Path) -> int:
    """0 when there is no such file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
