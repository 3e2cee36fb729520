"""The keys of OSSEC's and Wazuh's agents, in the registry's file: they share one number space with our own agents.

An agent keeps the id that its client.keys has, as its ciphers are keyed with it. Where that number is taken already, by
one of ours or by one of another old manager, it gets another one here and keeps its own on the wire.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
import sqlite_utils

from hids.core.wire.ossec.keys import ClientKey, known_key_hash
from hids.errors import ConfigError, RemoteProtocolError
from hids.messages.legacy import LegacyAgent
from hids.messages.terms import Agent, AgentId

REPLACE_AFTER_MS = 3_600_000
"""An agent may be replaced by one of the same name when it has been away, and was made, longer ago than this (Wazuh)."""
MAX_SAME_NAME = 256
"""OSSEC's server tries so many numbers behind a name that is taken."""

_Transaction = Callable[[], AbstractContextManager[None]]


def create_schema(db: sqlite_utils.Database) -> None:
    """The table beside `agents`: a row for each living old agent."""
    db.table("legacy").create(
        {
            "agent_id": str,
            "wire_id": str,
            "ip": str,
            "key": str,
            "generation": int,
            "group": str,
            "made_ms": int,
            "weak": int,
        },
        pk="agent_id",
        not_null={"wire_id", "ip", "key", "generation", "made_ms"},
    )
    db.table("legacy").create_index(["wire_id"])
    db.table("legacy").create_index(["key"], unique=True)


class Imported(msgspec.Struct, frozen=True):
    """What became of one line of client.keys."""

    id: str
    """In the file."""
    name: str
    agent_id: str = ""
    """Here; empty: not taken."""
    outcome: str = ""
    """"new", "changed", "known" or "refused"."""
    note: str = ""


class Wish(msgspec.Struct, frozen=True):
    """An agent that wants to enrol."""

    name: str
    ip: str
    """`any`, or its address."""
    group: str
    known_key: str
    """Hash of the key that it has already; empty for none."""
    numbered: bool
    """A taken name gets a number behind it (OSSEC) instead of being refused (Wazuh)."""


class LegacyRegistry:
    """On the registry's thread and connection."""

    def __init__(self, db: sqlite_utils.Database, transaction: _Transaction, next_id: Callable[[], int]) -> None:
        self._db = db
        self._transaction = transaction
        self._next_id = next_id

    def agents(self) -> tuple[LegacyAgent, ...]:
        """All living old agents."""
        rows = self._db.conn.execute(
            'SELECT a.id, a.name, l.wire_id, l.ip, l.key, l.generation, l."group" FROM legacy l '
            "JOIN agents a ON a.id = l.agent_id WHERE a.removed_ms IS NULL ORDER BY CAST(a.id AS INTEGER)"
        )
        return tuple(
            LegacyAgent(
                agent=Agent(AgentId(agent_id), name, ip),
                wire_id=wire_id,
                ip=ip,
                key=key,
                generation=generation,
                group=group or "",
            )
            for agent_id, name, wire_id, ip, key, generation, group in rows
        )

    def import_keys(self, keys: Sequence[ClientKey], now_ms: int) -> list[Imported]:
        """Take in agents of a client.keys file; doing it again changes nothing."""
        with self._transaction():
            return [self._import(key, now_ms) for key in keys]

    def _import(self, key: ClientKey, now_ms: int) -> Imported:
        owner = self._living(key.name)
        known = self._one("agent_id = ?", owner) if owner is not None else None
        if known is not None and known.wire_id != key.id:
            known = None
        same_key = self._one("key = ?", key.key)
        if same_key is not None and same_key != known:
            return _refused(key, f"its key is agent {same_key.agent.id}'s; every agent needs its own")
        if owner is not None and known is None:
            return _refused(key, f"the name belongs to agent {owner} already; remove or rename that one first")
        note = "weak key: enrol this agent again when you can" if key.is_weak else ""
        if known is not None:
            agent_id = known.agent.id
            if (known.key, known.ip) == (key.key, key.ip):
                return Imported(key.id, key.name, agent_id, "known", note)
            self._db.conn.execute(
                "UPDATE legacy SET ip = ?, key = ?, weak = ?, generation = generation + (key <> ?) WHERE agent_id = ?",
                (key.ip, key.key, key.is_weak, key.key, agent_id),
            )
            return Imported(key.id, key.name, agent_id, "changed", note)
        agent_id = self._free_id(key.id)
        if int(agent_id) != int(key.id):
            note = f"its number is taken, it is agent {agent_id} here" + (f"; {note}" if note else "")
        self._insert(agent_id, key, "", now_ms)
        return Imported(key.id, key.name, agent_id, "new", note)

    def enrol(self, wish: Wish, now_ms: int, is_live: Callable[[AgentId], bool]) -> tuple[LegacyAgent, AgentId | None]:
        """Make a new agent with a key of its own; returns it, and the one that it replaced.

        Raises:
            RemoteProtocolError: refused, in words that agents' logs show.
        """
        with self._transaction():
            name, replaced = self._name_for(wish, now_ms, is_live)
            if wish.ip != "any" and self._one("ip = ?", wish.ip) is not None:
                raise RemoteProtocolError(f"Duplicate IP: {wish.ip}")
            number = self._next_id()
            key = ClientKey(f"{number:03}", name, wish.ip, secrets.token_hex(32))
            self._insert(AgentId(key.id), key, wish.group, now_ms)
        return LegacyAgent(Agent(AgentId(key.id), name, wish.ip), key.id, wish.ip, key.key, 0, wish.group), replaced

    def _name_for(self, wish: Wish, now_ms: int, is_live: Callable[[AgentId], bool]) -> tuple[str, AgentId | None]:
        """A name that is free, if need be by removing who had it."""
        owner = self._living(wish.name)
        if owner is None:
            return wish.name, None
        if self._may_be_replaced(owner, wish, now_ms, is_live):
            self._db.conn.execute(
                "UPDATE agents SET removed_ms = ?, removed_by = 'enrolment' WHERE id = ?", (now_ms, owner)
            )
            self.forget(owner)
            return wish.name, owner
        if wish.numbered:
            for number in range(2, MAX_SAME_NAME + 2):
                if self._living(f"{wish.name}{number}") is None:
                    return f"{wish.name}{number}", None
        raise RemoteProtocolError(f"Duplicate agent name: {wish.name}")

    def _may_be_replaced(self, owner: AgentId, wish: Wish, now_ms: int, is_live: Callable[[AgentId], bool]) -> bool:
        """Wazuh's rules: an old agent, away and made an hour ago or more, whose key the newcomer does not have."""
        row = self._db.conn.execute(
            "SELECT l.wire_id, a.name, l.ip, l.key, l.made_ms, a.last_seen_ms FROM legacy l "
            "JOIN agents a ON a.id = l.agent_id WHERE l.agent_id = ?",
            (owner,),
        ).fetchone()
        if row is None or is_live(owner):
            return False
        key, made_ms, seen_ms = ClientKey(*row[:4]), row[4], row[5]
        old = now_ms - made_ms >= REPLACE_AFTER_MS and (seen_ms is None or now_ms - seen_ms >= REPLACE_AFTER_MS)
        return old and wish.known_key != known_key_hash(key)

    def reset_counters(self, agent_id: AgentId) -> None:
        """Let an agent's numbers begin anew, as they do when it was installed again under its old key.

        Raises:
            ConfigError: it is no old agent.
        """
        with self._transaction():
            done = self._db.conn.execute(
                "UPDATE legacy SET generation = generation + 1 WHERE agent_id = ?", (agent_id,)
            )
            if done.rowcount != 1:
                raise ConfigError(f"agent {agent_id} is no agent of OSSEC or Wazuh: it has no counters to reset")

    def key_of(self, agent_id: AgentId) -> ClientKey:
        """Its line in client.keys.

        Raises:
            ConfigError: it is no old agent.
        """
        known = self._one("agent_id = ?", agent_id)
        if known is None:
            raise ConfigError(f"agent {agent_id} is no agent of OSSEC or Wazuh: it has no key of theirs")
        return ClientKey(known.wire_id, known.agent.name, known.ip, known.key)

    def forget(self, agent_id: AgentId) -> None:
        """Its key is of no use any more. Call inside a transaction."""
        self._db.conn.execute("DELETE FROM legacy WHERE agent_id = ?", (agent_id,))

    def _insert(self, agent_id: AgentId, key: ClientKey, group: str, now_ms: int) -> None:
        row = {"id": agent_id, "name": key.name, "machine_id": "", "fingerprint": "", "joined_ms": now_ms}
        self._db.table("agents").insert(row | {"address": "" if key.ip == "any" else key.ip, "os": "", "software": ""})
        self._db.table("legacy").insert(
            {
                "agent_id": agent_id,
                "wire_id": key.id,
                "ip": key.ip,
                "key": key.key,
                "generation": 0,
                "group": group,
                "made_ms": now_ms,
                "weak": int(key.is_weak),
            }
        )

    def _free_id(self, wire_id: str) -> AgentId:
        wanted = AgentId(f"{int(wire_id):03}")
        taken = self._db.conn.execute("SELECT 1 FROM agents WHERE id = ?", (wanted,)).fetchone()
        return AgentId(f"{self._next_id():03}") if taken or int(wire_id) == 0 else wanted

    def _living(self, name: str) -> AgentId | None:
        row = self._db.conn.execute(
            "SELECT id FROM agents WHERE name = ? COLLATE NOCASE AND removed_ms IS NULL", (name,)
        ).fetchone()
        return None if row is None else AgentId(row[0])

    def _one(self, where: str, value: str) -> LegacyAgent | None:
        row = self._db.conn.execute(
            "SELECT a.id, a.name, l.wire_id, l.ip, l.key, l.generation FROM legacy l "  # noqa: S608 - `where` is ours
            f"JOIN agents a ON a.id = l.agent_id WHERE l.{where}",
            (value,),
        ).fetchone()
        if row is None:
            return None
        agent_id, name, found, ip, key, generation = row
        return LegacyAgent(Agent(AgentId(agent_id), name, ip), found, ip, key, generation)


def _refused(key: ClientKey, why: str) -> Imported:
    return Imported(key.id, key.name, "", "refused", why)
