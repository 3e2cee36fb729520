"""Who may report: the agents that have joined, the tokens with which others may, and those who wait for approval.

Rows of agents are never deleted. A removed agent stays as a tombstone, so that its id is not given out again
and its alerts keep a name. Of tokens only a SHA-256 is stored: they are 256 random bits, so neither guessing
nor the time that a lookup takes helps anybody.

One thread, one process: the manager's main. SQLite refuses other threads.
"""

import datetime as dt
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlite_utils

from hids.adapters import legacy_registry
from hids.adapters.identity import der_of, fingerprint
from hids.errors import ConfigError, JoinRefused, StoreError
from hids.messages.terms import AgentId

SCHEMA_VERSION = 3
MAX_TEXT = 200
"""Characters kept of what an agent says about its software and system."""

MAX_PENDING = 1_000
"""Requests that wait for approval; more are refused."""
PENDING_S = 7 * 86_400
"""A request that nobody decided on is forgotten after so long."""

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9._-]{0,63}")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
MAX_GROUPS = 32
_MACHINE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_TOKEN_BYTES = 32


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


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to join, in its own words."""

    name: str
    machine_id: str
    address: str
    os: str = ""
    software: str = ""
    key: str = ""
    """SHA-256 of the public key, in hex."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is good for, besides its time and its uses."""

    groups: tuple[str, ...] = ()
    """Those that join with it are put there."""
    networks: tuple[str, ...] = ()
    """Addresses and networks from which it may be used; none: from everywhere."""
    name: str = ""
    """The one name with which it may be used; empty: any."""
    approve: bool = False
    """Whoever uses it waits until a person approves."""


class PendingRow(msgspec.Struct, frozen=True):
    """A machine that waits for approval."""

    key: str
    """SHA-256 of its public key, in hex; the first digits name it."""
    name: str
    machine_id: str
    address: str
    os: str
    software: str
    groups: str
    asked_ms: int
    state: str
    """"waiting", "approved" or "denied"."""
    decided_by: str


class Waits(Exception):  # noqa: N818 - an answer
    """The request is noted; somebody has to approve it. `is_new`: it was not there before."""

    def __init__(self, key: str, *, is_new: bool) -> None:
        super().__init__(f"a person has to approve it: `hidsctl agent approve {key[:12]}`")
        self.is_new = is_new


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
        self.legacy = legacy_registry.LegacyRegistry(self._db, self._transaction, self._next_id)
        """The keys of OSSEC's and Wazuh's agents."""

    def close(self) -> None:
        """Close the file; the registry is of no use afterwards."""
        self._db.close()

    # ---- tokens

    def create_token(
        self, now_ms: int, valid_s: int = 3600, uses: int = 1, note: str = "", terms: Terms | None = None
    ) -> str:
        """Make a token for `uses` agents to join within `valid_s`. It is returned once and not stored.

        Raises:
            ConfigError: `valid_s` or `uses` below 1, or terms that make no sense.
        """
        terms = terms or Terms()
        if valid_s < 1 or uses < 1:
            raise ConfigError(f"a token needs at least 1 s and 1 use, got {valid_s} s and {uses} uses")
        if terms.name:
            _check_name(terms.name, ConfigError)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        while token.startswith("-"):  # it would look like an option on the command line
            token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = {
            "hash": _hash(token),
            "created_ms": now_ms,
            "expires_ms": now_ms + valid_s * 1000,
            "uses_left": uses,
            "note": _printable(note),
            "groups": _groups(terms.groups),
            "networks": ",".join(map(str, _networks(terms.networks))),
            "name": terms.name,
            "approve": terms.approve,
        }
        with self._transaction():
            self._db.table("tokens").insert(row)
        return token

    def redeem(self, token: str, now_ms: int, newcomer: Newcomer | None = None) -> Terms:
        """Spend one use of `token`; returns what it is good for.

        Raises:
            JoinRefused: unknown, used up, expired, or not for this newcomer.
        """
        with self._transaction():
            return self._redeem(token, newcomer, now_ms)

    def _redeem(self, token: str, newcomer: Newcomer | None, now_ms: int) -> Terms:
        # One conditional write, which also takes SQLite's write lock: two agents cannot share the last use.
        key = _hash(token)
        spent = self._db.conn.execute(
            "UPDATE tokens SET uses_left = uses_left - 1 WHERE hash = ? AND uses_left > 0 AND expires_ms > ?",
            (key, now_ms),
        )
        if spent.rowcount == 1:
            return self._terms(key, newcomer)
        row = self._db.conn.execute("SELECT uses_left, expires_ms FROM tokens WHERE hash = ?", (key,)).fetchone()
        if row is None:
            why = "this manager does not know the token; was it copied whole, and is this the right manager?"
        elif row[0] <= 0:
            why = "the token has been used"
        else:
            why = f"the token expired on {_date(row[1])}"
        raise JoinRefused(f"{why}; make a new one with `hidsctl agent token`")

    def _terms(self, key: str, newcomer: Newcomer | None) -> Terms:
        groups, networks, name, approve = self._db.conn.execute(
            "SELECT groups, networks, name, approve FROM tokens WHERE hash = ?", (key,)
        ).fetchone()
        if newcomer is not None and name and name.lower() != newcomer.name.lower():
            raise JoinRefused(f"this token is for the name {name} only; join with --name {name}")
        if newcomer is not None and networks and not _is_inside(newcomer.address, networks.split(",")):
            raise JoinRefused(f"this token may not be used from {newcomer.address}; it is for {networks}")
        return Terms(groups=tuple(groups.split(",")) if groups else (), approve=bool(approve))

    # ---- approval

    def pending(self) -> Sequence[PendingRow]:
        """Who waits, and who was decided on but did not ask again yet."""
        query = f"SELECT {', '.join(PendingRow.__struct_fields__)} FROM pending ORDER BY asked_ms"  # noqa: S608 - ours
        return [PendingRow(*row) for row in self._db.conn.execute(query)]

    def decide(self, which: str, by: str, *, approved: bool) -> PendingRow:
        """Approve or deny a request, by its name or the first digits of its key.

        Raises:
            ConfigError: none or several are called so.
        """
        with self._transaction():
            rows = [row for row in self.pending() if row.name == which or (which and row.key.startswith(which))]
            if len(rows) != 1:
                what = "nobody who waits" if not rows else "more than one that waits"
                raise ConfigError(f"{what} is called {which!r}; `hidsctl agent pending` shows all")
            state = "approved" if approved else "denied"
            self._db.conn.execute(
                "UPDATE pending SET state = ?, decided_by = ? WHERE key = ?", (state, _printable(by), rows[0].key)
            )
            return msgspec.structs.replace(rows[0], state=state, decided_by=by)

    def _decided(self, newcomer: Newcomer, now_ms: int) -> PendingRow | None:
        """What was decided on this key; None when it never asked."""
        self._db.conn.execute("DELETE FROM pending WHERE asked_ms < ?", (now_ms - PENDING_S * 1000,))
        return next((row for row in self.pending() if newcomer.key and row.key == newcomer.key), None)

    def _queue(self, newcomer: Newcomer, terms: Terms, now_ms: int) -> None:
        (count,) = self._db.conn.execute("SELECT count(*) FROM pending").fetchone()
        if count >= MAX_PENDING:
            raise JoinRefused("too many machines wait for approval; ask the manager's administrator")
        row = {
            "key": newcomer.key,
            "name": newcomer.name,
            "machine_id": newcomer.machine_id,
            "address": newcomer.address,
            "os": _printable(newcomer.os),
            "software": _printable(newcomer.software),
            "groups": _groups(terms.groups),
            "asked_ms": now_ms,
            "state": "waiting",
            "decided_by": "",
        }
        self._db.table("pending").upsert(row, pk="key")

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
            _check(newcomer)
            decided = self._decided(newcomer, now_ms)
            if decided is None:
                terms = self._redeem(token, newcomer, now_ms)
                self._id_for(newcomer)  # a name that is taken need not wait
                if terms.approve:
                    self._queue(newcomer, terms, now_ms)
                    waits = Waits(newcomer.key, is_new=True)
            elif decided.state == "denied":
                raise JoinRefused(f"{decided.decided_by} denied it")
            elif decided.state == "waiting":
                raise Waits(newcomer.key, is_new=False)
            else:
                terms = Terms(groups=tuple(name for name in decided.groups.split(",") if name))
                self._db.conn.execute("DELETE FROM pending WHERE key = ?", (newcomer.key,))
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
            "os": _printable(newcomer.os),
            "software": _printable(newcomer.software),
            "joined_ms": now_ms,
            "groups": _groups(terms.groups) or (before.groups if before is not None else ""),
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
                f"agent {row.id} was removed on {_date(row.removed_ms)} by {row.removed_by}; "
                "join again with a new token"
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
            _check_name(name, ConfigError)
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
            self._db.conn.execute("UPDATE agents SET groups = ? WHERE id = ?", (_groups(groups), row.id))
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
                    f"agent {row.id} ({row.name}) was removed on {_date(row.removed_ms)} by {row.removed_by}"
                )
            self._db.conn.execute(
                "UPDATE agents SET removed_ms = ?, removed_by = ? WHERE id = ?",
                (now_ms, _printable(by), row.id),
            )
            self.legacy.forget(row.id)
            return self.get(row.id)

    def seen(self, agent_id: AgentId, now_ms: int, address: str, os: str, software: str) -> None:
        """Note where and as what an agent has shown itself.

        One durable write (about a disk flush), so for a session's start and end, not for each message.
        """
        with self._transaction():
            self._db.conn.execute(
                "UPDATE agents SET last_seen_ms = ?, address = ?, os = ?, software = ? WHERE id = ?",
                (now_ms, address, _printable(os), _printable(software), agent_id),
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


def _check(newcomer: Newcomer) -> None:
    _check_name(newcomer.name, JoinRefused)
    if not _MACHINE_ID.fullmatch(newcomer.machine_id):
        raise JoinRefused(f"expected a machine id of 1 to 64 letters, digits and -, got {newcomer.machine_id[:80]!r}")


def _check_name(name: str, error: type[JoinRefused | ConfigError]) -> None:
    if not _NAME.fullmatch(name) or name.isdigit():
        raise error(
            f"the name {name[:80]!r} cannot be used: expected 1 to 64 of A-Z a-z 0-9 . _ -, not starting "
            "with -, and not digits alone, which are ids; use another --name"
        )


def _groups(names: Sequence[str]) -> str:
    """Write groups as they are stored.

    Raises:
        ConfigError: one has a name that cannot be used.
    """
    for name in names:
        if not _GROUP.fullmatch(name):
            raise ConfigError(f"the group {name[:80]!r} cannot be used: expected 1 to 64 of A-Z a-z 0-9 . _ -")
    if len(names) > MAX_GROUPS:
        raise ConfigError(f"an agent is in at most {MAX_GROUPS} groups, got {len(names)}")
    return ",".join(dict.fromkeys(names))


def _networks(texts: Sequence[str]) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"expected addresses or networks such as 10.0.0.0/8: {error}") from error


def _is_inside(address: str, networks: Sequence[str]) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network) for network in networks)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _printable(text: str) -> str:
    """Cut what a stranger says, and take out what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])


def _date(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
