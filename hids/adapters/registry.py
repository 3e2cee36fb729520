"""Who may report: the agents that have joined, the tokens with which others may, and those who wait for approval.

Rows of agents are never deleted. A removed agent stays as a tombstone, so that its id is not given out again
and its alerts keep a name. Of tokens only a SHA-256 is stored: they are 256 random bits, so neither guessing
nor the time that a lookup takes helps anybody.

One thread, one process: the manager's main. SQLite refuses other threads.
"""

import hmac
import os
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlite_utils

from hids.adapters import legacy_registry
from hids.adapters.approvals import Approvals, PendingRow, Waits
from hids.adapters.clock import date
from hids.adapters.identity import der_of, fingerprint
from hids.adapters.newcomer import Newcomer, check, check_name, groups_text, printable
from hids.adapters.tokens import Terms, Tokens
from hids.errors import ConfigError, JoinRefused, StoreError
from hids.messages.terms import AgentId

SCHEMA_VERSION = 3


class AgentRow(msgspec.Struct, frozen=True):
    """One agent, living or removed."""

    id: AgentId
    name: str
    machine_id: str
    fingerprint: str
    """SHA-256 of the certificate that is valid for it, in hex."""
    address: str
    """Where it was last seen, or joined from."""
    os: str
    software: str
    joined_ms: int
    last_seen_ms: int | None
    """None until its first session."""
    removed_ms: int | None
    removed_by: str
    groups: str = ""
    """Names with commas between them, in the order in which their configuration is taken."""
    key: str = ""
    """SHA-256 of its public key, in hex: the same machine joins again with the same one."""
    renewed: str = ""
    """Fingerprint of a certificate that it was given and has not used yet; both are valid until it does."""

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups, one by one."""
        return tuple(name for name in self.groups.split(",") if name)


_COLUMNS = ", ".join(AgentRow.__struct_fields__)


def _create_schema(db: sqlite_utils.Database) -> None:
    db.table("agents").create(
        {
            "id": str,
            "name": str,
            "machine_id": str,
            "fingerprint": str,
            "address": str,
            "os": str,
            "software": str,
            "joined_ms": int,
            "last_seen_ms": int,
            "removed_ms": int,
            "removed_by": str,
        },
        pk="id",
        not_null={"name", "machine_id", "fingerprint", "joined_ms"},
        defaults={"removed_by": ""},
    )
    # Names are hosts' names: case does not tell two apart. A tombstone does not hold its name.
    db.conn.execute("CREATE UNIQUE INDEX living_names ON agents (name COLLATE NOCASE) WHERE removed_ms IS NULL")
    db.table("tokens").create(
        {"hash": str, "created_ms": int, "expires_ms": int, "uses_left": int, "note": str},
        pk="hash",
        not_null={"created_ms", "expires_ms", "uses_left"},
    )


def _add_groups_and_approval(db: sqlite_utils.Database) -> None:
    for column in ("groups", "key", "renewed"):
        db.conn.execute(f"ALTER TABLE agents ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    for column in ("groups", "networks", "name"):
        db.conn.execute(f"ALTER TABLE tokens ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    db.conn.execute("ALTER TABLE tokens ADD COLUMN approve INTEGER NOT NULL DEFAULT 0")
    db.table("pending").create(
        {
            "key": str,
            "name": str,
            "machine_id": str,
            "address": str,
            "os": str,
            "software": str,
            "groups": str,
            "asked_ms": int,
            "state": str,
            "decided_by": str,
        },
        pk="key",
    )


_MIGRATIONS: tuple[Callable[[sqlite_utils.Database], None], ...] = (
    _create_schema,
    legacy_registry.create_schema,
    _add_groups_and_approval,
)
"""Step n takes a file from version n to n + 1."""


class Registry:
    """The agents and tokens in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it with mode 0600; bring an older one up to date.

        Raises:
            StoreError: it is damaged, of a newer version or cannot be written.
        """
        self._path = path
        with self._explained():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # -wal and -shm inherit it
            self._db = sqlite_utils.Database(sqlite3.connect(path, timeout=5.0))
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        self._tokens = Tokens(self._db)
        self._approvals = Approvals(self._db)
        self.legacy = legacy_registry.LegacyRegistry(self._db, self._transaction, self._next_id)
        """The keys of OSSEC's and Wazuh's agents."""

    def close(self) -> None:
        """Close the file; the registry is of no use afterwards."""
        self._db.close()

    # ---- tokens, approval

    def create_token(
        self, now_ms: int, valid_s: int = 3600, uses: int = 1, note: str = "", terms: Terms | None = None
    ) -> str:
        """Make a token for `uses` agents to join within `valid_s`. It is returned once and not stored.

        Raises:
            ConfigError: `valid_s` or `uses` below 1, or terms that make no sense.
        """
        with self._transaction():
            return self._tokens.create(now_ms, valid_s, uses, note, terms or Terms())

    def redeem(self, token: str, now_ms: int, newcomer: Newcomer | None = None) -> Terms:
        """Spend one use of `token`; returns what it is good for.

        Raises:
            JoinRefused: unknown, used up, expired, or not for this newcomer.
        """
        with self._transaction():
            return self._tokens.redeem(token, newcomer, now_ms)

    def pending(self) -> Sequence[PendingRow]:
        """Who waits, and who was decided on but did not ask again yet."""
        return self._approvals.list()

    def decide(self, which: str, by: str, *, approved: bool) -> PendingRow:
        """Approve or deny a request, by its name or the first digits of its key.

        Raises:
            ConfigError: none or several are called so.
        """
        with self._transaction():
            return self._approvals.decide(which, by, approved=approved)

    # ---- agents

    def enrol(
        self, token: str, newcomer: Newcomer, now_ms: int, sign: Callable[[AgentId], bytes]
    ) -> tuple[AgentRow, bytes]:
        """Redeem `token` and take in `newcomer`, both or neither.

        A machine that joins again under its living name, or with its key, gets its id back; its old certificate ends
        with that. One that has another agent's machine id and neither its name nor its key is a clone: it gets an id of
        its own.

        Args:
            token: as `create_token` returned it.
            newcomer: what the agent says about itself.
            now_ms: milliseconds since the epoch.
            sign: makes a certificate (PEM) for the id; what it raises undoes all.

        Returns:
            the agent and its certificate.

        Raises:
            JoinRefused: for the token or the name, with what to do.
            Waits: the token is spent, and somebody has to approve the newcomer, who shall ask again with the same key.
        """
        waits: Waits | None = None
        with self._transaction():
            check(newcomer)
            decided = self._approvals.decided(newcomer, now_ms)
            if decided is None:
                terms = self._tokens.redeem(token, newcomer, now_ms)
                self._id_for(newcomer)  # a name that is taken need not wait
                if terms.approve:
                    self._approvals.queue(newcomer, terms.groups, now_ms)
                    waits = Waits(newcomer.key, is_new=True)
            elif decided.state == "denied":
                raise JoinRefused(f"{decided.decided_by} denied it")
            elif decided.state == "waiting":
                raise Waits(newcomer.key, is_new=False)
            else:
                terms = Terms(groups=tuple(name for name in decided.groups.split(",") if name))
                self._approvals.forget(newcomer.key)
            if waits is None:
                return self._take_in(newcomer, terms, now_ms, sign)
        raise waits

    def clone_of(self, newcomer: Newcomer) -> AgentRow | None:
        """The living agent whose machine id this newcomer has, when it is not that agent itself."""
        row = self._find("machine_id = ? AND removed_ms IS NULL", newcomer.machine_id)
        if row is None or row.name.lower() == newcomer.name.lower() or (row.key and row.key == newcomer.key):
            return None
        return row

    def _take_in(
        self, newcomer: Newcomer, terms: Terms, now_ms: int, sign: Callable[[AgentId], bytes]
    ) -> tuple[AgentRow, bytes]:
        agent_id = self._id_for(newcomer)
        before = self._find("id = ?", agent_id)
        certificate = sign(agent_id)
        row = {
            "id": agent_id,
            "name": newcomer.name,
            "machine_id": newcomer.machine_id,
            "fingerprint": fingerprint(der_of(certificate)),
            "address": newcomer.address,
            "os": printable(newcomer.os),
            "software": printable(newcomer.software),
            "joined_ms": now_ms,
            "groups": groups_text(terms.groups) or (before.groups if before is not None else ""),
            "key": newcomer.key,
            "renewed": "",
        }
        self._db.table("agents").upsert(row, pk="id")
        self.legacy.forget(agent_id)  # an old agent that has become one of ours is refused on the old protocol
        return self.get(agent_id), certificate

    def admit(self, agent_id: AgentId, shown: str) -> AgentRow:
        """Let an agent in that has shown a certificate with this fingerprint.

        Raises:
            JoinRefused: unknown, removed, or the certificate is not its newest.
        """
        row = self._find("id = ?", agent_id)
        if row is None:
            raise JoinRefused(f"this manager has no agent {agent_id}; join again with a new token")
        if row.removed_ms is not None:
            raise JoinRefused(
                f"agent {row.id} was removed on {date(row.removed_ms)} by {row.removed_by}; join again with a new token"
            )
        if row.renewed and hmac.compare_digest(row.renewed, shown):
            with self._transaction():  # it has the new one: the old one ends
                self._db.conn.execute("UPDATE agents SET fingerprint = renewed, renewed = '' WHERE id = ?", (row.id,))
        elif not hmac.compare_digest(row.fingerprint, shown):
            raise JoinRefused(
                f"agent {row.id} has joined anew since this certificate was made; it is no longer valid. "
                "If this is a copy of the agent's machine, let it join with a new token and a name of its own"
            )
        return row

    def renew(self, agent_id: AgentId, key: str, sign: Callable[[AgentId, str], bytes]) -> bytes:
        """Give an agent a new certificate (PEM). Its old one is valid until it shows the new one.

        Raises:
            JoinRefused: it is no agent any more.
        """
        with self._transaction():
            row = self._find("id = ? AND removed_ms IS NULL", agent_id)
            if row is None:
                raise JoinRefused(f"agent {agent_id} is removed")
            certificate = sign(row.id, row.name)
            self._db.conn.execute(
                "UPDATE agents SET renewed = ?, key = ? WHERE id = ?",
                (fingerprint(der_of(certificate)), key, row.id),
            )
            return certificate

    def rename(self, key: str, name: str) -> AgentRow:
        """Call an agent (id or name) otherwise.

        Raises:
            ConfigError: there is none, the name cannot be used, or another living agent has it.
        """
        with self._transaction():
            row = self._living(key)
            check_name(name, ConfigError)
            other = self._find("name = ? COLLATE NOCASE AND removed_ms IS NULL", name)
            if other is not None and other.id != row.id:
                raise ConfigError(f"the name {name} belongs to agent {other.id}")
            self._db.conn.execute("UPDATE agents SET name = ? WHERE id = ?", (name, row.id))
            return self.get(row.id)

    def set_groups(self, key: str, groups: Sequence[str]) -> AgentRow:
        """Put an agent (id or name) into these groups and no others.

        Raises:
            ConfigError: there is none, or a name of a group that cannot be used.
        """
        with self._transaction():
            row = self._living(key)
            self._db.conn.execute("UPDATE agents SET groups = ? WHERE id = ?", (groups_text(groups), row.id))
            return self.get(row.id)

    def _living(self, key: str) -> AgentRow:
        row = self.get(key)
        if row.removed_ms is not None:
            raise ConfigError(f"agent {row.id} ({row.name}) is removed")
        return row

    def list(self) -> Sequence[AgentRow]:
        """All agents, removed ones included, in the order in which they joined first."""
        return self._select("ORDER BY CAST(id AS INTEGER)")

    def get(self, key: str) -> AgentRow:
        """Find an agent by id or name; by name a living one comes before removed ones.

        Raises:
            ConfigError: there is none.
        """
        row = self._find("id = ?", key) or self._find("name = ? COLLATE NOCASE", key)
        if row is None:
            raise ConfigError(f"there is no agent {key!r}; `hidsctl agent list` shows all")
        return row

    def remove(self, key: str, by: str, now_ms: int) -> AgentRow:
        """Refuse this agent (id or name) from now on; `by` is the person who says so.

        Raises:
            ConfigError: there is none, or it is removed already.
        """
        with self._transaction():
            row = self.get(key)
            if row.removed_ms is not None:
                raise ConfigError(
                    f"agent {row.id} ({row.name}) was removed on {date(row.removed_ms)} by {row.removed_by}"
                )
            self._db.conn.execute(
                "UPDATE agents SET removed_ms = ?, removed_by = ? WHERE id = ?",
                (now_ms, printable(by), row.id),
            )
            self.legacy.forget(row.id)
            return self.get(row.id)

    def seen(self, agent_id: AgentId, now_ms: int, address: str, os: str, software: str) -> None:
        """Note where and as what an agent has shown itself.

        One durable write (about a disk flush), so for a session's start, not for each message.
        """
        with self._transaction():
            self._db.conn.execute(
                "UPDATE agents SET last_seen_ms = ?, address = ?, os = ?, software = ? WHERE id = ?",
                (now_ms, address, printable(os), printable(software), agent_id),
            )

    def last_seen(self, seen: Mapping[AgentId, int]) -> None:
        """Note when agents were here last, milliseconds since the epoch; all in one durable write."""
        with self._transaction():
            self._db.conn.executemany(
                "UPDATE agents SET last_seen_ms = ? WHERE id = ?",
                [(at_ms, agent_id) for agent_id, at_ms in seen.items()],
            )

    def _id_for(self, newcomer: Newcomer) -> AgentId:
        """The id of the machine that joins again, or the next free one."""
        row = self._find("name = ? COLLATE NOCASE AND removed_ms IS NULL", newcomer.name)
        known = self._find("key = ? AND removed_ms IS NULL", newcomer.key) if newcomer.key else None
        if known is not None and (row is None or row.id == known.id):
            return known.id  # its key says who it is, whatever it is called now and wherever its disk is
        if row is None:
            return AgentId(f"{self._next_id():03}")
        if row.machine_id not in ("", newcomer.machine_id):  # empty: an agent of OSSEC or Wazuh, which becomes ours
            raise JoinRefused(
                f"the name {row.name} belongs to agent {row.id} on another machine; join with another "
                f"--name, or first run `hidsctl agent remove {row.id}` on the manager"
            )
        return row.id

    def _next_id(self) -> int:
        (last,) = self._db.conn.execute("SELECT max(CAST(id AS INTEGER)) FROM agents").fetchone()
        return (last or 0) + 1

    def _find(self, where: str, value: str) -> AgentRow | None:
        """The first agent for which `where` holds; living ones come first."""
        order = "ORDER BY removed_ms IS NULL DESC, removed_ms DESC LIMIT 1"
        return next(iter(self._select(f"WHERE {where} {order}", value)), None)

    def _select(self, clauses: str, *values: str) -> Sequence[AgentRow]:
        """Agents by SQL; `clauses` are ours, `values` may be anybody's."""
        query = f"SELECT {_COLUMNS} FROM agents {clauses}"  # noqa: S608 - see above
        return [AgentRow(*row) for row in self._db.conn.execute(query, values)]

    # ---- the file

    def _prepare(self) -> None:
        version = self._db.conn.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by a newer release (version {version}, here {SCHEMA_VERSION}); "
                "install that release or restore the backup made before it"
            )
        self._db.conn.execute("PRAGMA journal_mode = WAL")
        self._db.conn.execute("PRAGMA synchronous = FULL")
        with self._db.atomic():
            for migrate in _MIGRATIONS[version:]:
                migrate(self._db)
            self._db.conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._explained(), self._db.atomic():
            yield

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self._path}: the agents' registry cannot be used: {error}; check free space and owner, "
                "or restore it from a backup"
            ) from error
