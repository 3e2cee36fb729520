"""What came of policies on each host: `policy.db`, written by the lane, read by `hidsctl policy`.

The lane writes it before it commits the lines that it comes from. After a crash the same lines come again and give the same
rows, so nothing is missing and nothing is there twice.

Tables: `policy` one row a host and policy, `result` one a host and check, `history` the scores over time, `text` what the
policies say of their checks, once for all hosts that say the same.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlite_utils import Database

from hids.adapters.sqlite import is_damage, put_aside
from hids.core.policy.lines import (
    RESULTS,
    CheckBody,
    CheckSaid,
    DumpSaid,
    PoliciesSaid,
    ScannedSaid,
    SummarySaid,
    read_said,
    score,
)
from hids.errors import StoreError
from hids.messages.terms import Agent

VERSION = 2
MAX_POLICIES = 64
"""Of one host. An agent has at most as many (hids.agent.policy)."""
MAX_CHECKS = 5_000
"""Of one policy (hids.core.policy.load)."""
MAX_HISTORY = 1_000
"""Scores of one host and policy; the oldest go."""
MAX_NAME = 256
MAX_PATH = 4_096
MAX_BODY = 65_536
_BUSY_WAIT_S = 5.0
_WAL_BYTES = 16 * 1024 * 1024

log = structlog.get_logger()

_SCHEMA = """
    CREATE TABLE agents(id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE policy(
        agent TEXT NOT NULL, policy TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, description TEXT NOT NULL,
        hash_file TEXT NOT NULL, score INTEGER NOT NULL, passed INTEGER NOT NULL, failed INTEGER NOT NULL,
        invalid INTEGER NOT NULL, total INTEGER NOT NULL, scanned_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
        origin TEXT NOT NULL DEFAULT '', PRIMARY KEY (agent, policy)) WITHOUT ROWID;
    CREATE TABLE result(
        agent TEXT NOT NULL, policy TEXT NOT NULL, id INTEGER NOT NULL, result TEXT NOT NULL, previous TEXT NOT NULL,
        reason TEXT NOT NULL, since_ms INTEGER NOT NULL, text BLOB NOT NULL,
        PRIMARY KEY (agent, policy, id)) WITHOUT ROWID;
    CREATE INDEX result_by_text ON result(text);
    CREATE TABLE text(digest BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE history(
        agent TEXT NOT NULL, policy TEXT NOT NULL, at_ms INTEGER NOT NULL, score INTEGER NOT NULL,
        passed INTEGER NOT NULL, failed INTEGER NOT NULL, invalid INTEGER NOT NULL,
        PRIMARY KEY (agent, policy, at_ms)) WITHOUT ROWID;
"""

_FROM_1 = "ALTER TABLE policy ADD COLUMN origin TEXT NOT NULL DEFAULT ''"

_encode = msgspec.json.Encoder().encode


class CheckText(msgspec.Struct, frozen=True):
    """What a policy says of a check, as `result` refers to it."""

    title: str = ""
    description: str = ""
    rationale: str = ""
    impact: str = ""
    remediation: str = ""
    references: str = ""
    compliance: dict[str, str] = {}
    condition: str = ""
    rules: tuple[str, ...] = ()


class PolicyRow(msgspec.Struct, frozen=True):
    """A policy on a host."""

    agent: str
    agent_name: str
    policy: str
    name: str
    file: str
    description: str
    hash_file: str
    score: int
    """Percent of the checks that passed, of those that passed or failed."""
    passed: int
    failed: int
    invalid: int
    """Checks that could not be looked at."""
    total: int
    scanned_ms: int
    changed_ms: int
    origin: str
    """Where the host has it from: a path there, or the manager; empty: it does not say."""


class ResultRow(msgspec.Struct, frozen=True):
    """A check on a host."""

    agent: str
    agent_name: str
    policy: str
    id: int
    result: str
    previous: str
    """The result before; empty when there was none."""
    reason: str
    """Why it is not applicable."""
    since_ms: int
    text: CheckText


class ScoreRow(msgspec.Struct, frozen=True):
    """How a policy came out on a host at some time."""

    agent: str
    agent_name: str
    policy: str
    at_ms: int
    score: int
    passed: int
    failed: int
    invalid: int


class PolicyStore:
    """Writes `policy.db`. For one thread, and the only writer of the file.

    Raises:
        StoreError: it cannot be made or opened. A damaged one is put aside as `policy.db.old`, and filled by what comes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = self._open()
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def record(self, scans: Sequence[tuple[Agent, int, bytes]]) -> None:
        """Write what agents told (agent, when, line), durably and all or nothing; what is no such line is left out.

        A file that turns out to be damaged is put aside, so that it does not stop the lane.

        Raises:
            StoreError: nothing was written.
        """
        try:
            try:
                self._write(scans)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._db = self._again(self._db, str(error))
                self._write(scans)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.conn.close()

    # -- lines

    def _write(self, scans: Sequence[tuple[Agent, int, bytes]]) -> None:
        with self._db.atomic():
            for agent, at_ms, text in scans:
                self._record(agent, at_ms, text)

    def _record(self, agent: Agent, at_ms: int, text: bytes) -> None:
        said = read_said(text)
        self._do("INSERT OR REPLACE INTO agents VALUES (?, ?)", agent.id, agent.name)
        match said:
            case CheckSaid():
                self._check(agent.id, at_ms, said)
            case SummarySaid():
                self._summary(agent.id, at_ms, said)
            case ScannedSaid():
                self._do(
                    "UPDATE policy SET scanned_ms = ? WHERE agent = ? AND policy = ?", at_ms, agent.id, said.policy_id
                )
            case PoliciesSaid():
                self._keep(agent.id, said.policies)
            case DumpSaid() | None:
                pass

    def _check(self, agent: str, at_ms: int, said: CheckSaid) -> None:
        policy, check = said.policy_id[:MAX_NAME], said.check
        if said.result not in RESULTS:
            return
        known = self._one(
            "SELECT result, since_ms, previous FROM result WHERE (agent, policy, id) = (?, ?, ?)",
            *(agent, policy, check.id),
        )
        if known is None and self._is_full(agent, policy):
            return
        before, since_ms, previous = known or ("", at_ms, "")
        if before != said.result:
            since_ms, previous = at_ms, said.previous_result[:MAX_NAME] or before
        digest = self._text(check)
        self._do(
            "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(agent, policy, check.id, said.result, previous, check.reason[:MAX_BODY], since_ms, digest),
        )

    def _is_full(self, agent: str, policy: str) -> bool:
        """Whether the host has all the checks or policies that one may have."""
        checks = self._one("SELECT count(*) FROM result WHERE agent = ? AND policy = ?", agent, policy)
        if checks is not None and checks[0]:
            return bool(checks[0] >= MAX_CHECKS)
        policies = self._one("SELECT count(DISTINCT policy) FROM result WHERE agent = ?", agent)
        return policies is not None and policies[0] >= MAX_POLICIES

    def _text(self, check: CheckBody) -> bytes:
        body = _encode(msgspec.convert(msgspec.to_builtins(check), CheckText))
        if len(body) > MAX_BODY:
            body = _encode(CheckText(title=check.title[:MAX_NAME], description="(too long to keep)"))
        digest = hashlib.sha256(body).digest()[:16]
        self._do("INSERT OR IGNORE INTO text VALUES (?, ?)", digest, body)
        return digest

    def _summary(self, agent: str, at_ms: int, said: SummarySaid) -> None:
        policy = said.policy_id[:MAX_NAME]
        known = self._one("SELECT 1 FROM policy WHERE agent = ? AND policy = ?", agent, policy)
        count = self._one("SELECT count(*) FROM policy WHERE agent = ?", agent)
        if known is None and count is not None and count[0] >= MAX_POLICIES:
            return
        figures = (score(said.passed, said.failed), said.passed, said.failed, said.invalid)
        self._do(
            "INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(agent, policy, said.name[:MAX_NAME], said.file[:MAX_NAME], said.description[:MAX_BODY]),
            *(said.hash_file[:MAX_NAME], *figures, said.total_checks, at_ms, at_ms, said.origin[:MAX_PATH]),
        )
        self._do("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?)", agent, policy, at_ms, *figures)
        self._do(
            "DELETE FROM history WHERE agent = ?1 AND policy = ?2 AND at_ms <= (SELECT at_ms FROM history "
            "WHERE agent = ?1 AND policy = ?2 ORDER BY at_ms DESC LIMIT 1 OFFSET ?3)",
            *(agent, policy, MAX_HISTORY),
        )
        if said.checks:
            self._do(
                "DELETE FROM result WHERE agent = ? AND policy = ? AND id NOT IN (SELECT value FROM json_each(?))",
                *(agent, policy, _encode(said.checks).decode()),
            )

    def _keep(self, agent: str, policies: Iterable[str]) -> None:
        """Forget the results of policies that the host no longer has; their history stays."""
        kept = _encode(list(policies)).decode()
        for table in ("policy", "result"):
            self._do(
                f"DELETE FROM {table} WHERE agent = ? AND policy NOT IN (SELECT value FROM json_each(?))",  # noqa: S608
                *(agent, kept),
            )

    def _do(self, sql: str, *values: object) -> None:
        self._db.conn.execute(sql, values)

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.conn.execute(sql, values).fetchone()
        return row

    # -- the file

    def _open(self) -> Database:
        db = Database(sqlite3.connect(self._path, timeout=_BUSY_WAIT_S, isolation_level=None))
        try:
            db.conn.execute("PRAGMA journal_mode = WAL")
            db.conn.execute("PRAGMA synchronous = FULL")
            db.conn.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            version: int = db.conn.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not db.table_names():
                with db.atomic():
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        db.conn.execute(statement)
                    db.conn.execute(f"PRAGMA user_version = {VERSION}")
            elif version == 1:
                with db.atomic():
                    db.conn.execute(_FROM_1)
                    db.conn.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                return self._again(db, f"it is of version {version}, this program writes {VERSION}")
            db.conn.execute("DELETE FROM text WHERE digest NOT IN (SELECT text FROM result)")
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                db.conn.close()
                raise
            return self._again(db, str(error))
        return db

    def _again(self, db: Database, reason: str) -> Database:
        with suppress(sqlite3.Error):
            db.conn.close()
        aside = put_aside(self._path, ".old")
        log.error("results of policies are gathered anew", path=str(self._path), reason=reason, aside=str(aside))
        return self._open()

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: results of policies cannot be written: {error}")


class PolicyReader:
    """Reads `policy.db`, while it is being written. For one thread.

    Raises:
        StoreError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise StoreError(f"{path}: no results of policies yet; the manager makes this file when it first runs")
        uri = f"{path.absolute().as_uri()}?mode=ro"
        if not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK):
            uri += "&immutable=1"  # nobody writes, and the files that reading needs cannot be made
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=_BUSY_WAIT_S, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if version != VERSION:
            raise StoreError(f"{path}: of version {version}, this program reads {VERSION}")

    def policies(self, *, agent: str | None = None, policy: str | None = None) -> list[PolicyRow]:
        """Policies of hosts; `agent` is an id or a name, `policy` an id."""
        rows = self._ask(
            "SELECT p.agent, a.name, p.policy, p.name, file, description, hash_file, score, passed, failed, invalid, "
            "total, scanned_ms, changed_ms, origin FROM policy p JOIN agents a ON a.id = p.agent",
            "ORDER BY p.agent, p.policy",
            agent=agent,
            policy=policy,
        )
        return [PolicyRow(*row) for row in rows]

    def results(
        self,
        *,
        agent: str | None = None,
        policy: str | None = None,
        result: str | None = None,
        check: int | None = None,
    ) -> list[ResultRow]:
        """Checks of hosts."""
        rows = self._ask(
            "SELECT p.agent, a.name, p.policy, p.id, result, previous, reason, since_ms, body FROM result p "
            "JOIN agents a ON a.id = p.agent JOIN text t ON t.digest = p.text",
            "ORDER BY p.agent, p.policy, p.id",
            agent=agent,
            policy=policy,
            result=result,
            check=check,
        )
        return list(map(_result, rows))

    def history(self, *, agent: str | None = None, policy: str | None = None) -> list[ScoreRow]:
        """Scores over time, the oldest first."""
        rows = self._ask(
            "SELECT p.agent, a.name, p.policy, at_ms, score, passed, failed, invalid FROM history p "
            "JOIN agents a ON a.id = p.agent",
            "ORDER BY p.agent, p.policy, at_ms",
            agent=agent,
            policy=policy,
        )
        return [ScoreRow(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _ask(self, select: str, order: str, **wanted: str | int | None) -> list[tuple[Any, ...]]:
        tests = {
            "agent": "(p.agent = :agent OR a.name = :agent)",
            "policy": "p.policy = :policy",
            "result": "result = :result",
            "check": "p.id = :check",
        }
        values = {
            name: value.encode(errors="replace").decode() if isinstance(value, str) else value
            for name, value in wanted.items()
            if value is not None
        }
        where = " AND ".join(tests[name] for name in values) or "1"
        try:
            with closing(self._db.execute(f"{select} WHERE {where} {order}", values)) as found:
                return found.fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: results of policies cannot be read: {error}")


def _result(row: tuple[Any, ...]) -> ResultRow:
    agent, name, policy, check, result, previous, reason, since_ms, body = row
    text = msgspec.json.decode(body, type=CheckText)
    return ResultRow(agent, name, policy, check, result, previous, reason, since_ms, text)
