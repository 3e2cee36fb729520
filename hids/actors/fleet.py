"""Fleet: what main knows of the agents right now. Written by sessions, read by status, control and monitor.

A register on main's loop (see registers.py). It also fences: one live session an agent.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from hids.core.wire.session import clock_offset_ms
from hids.messages.agent_link import Heartbeat, Hello, ToAgent
from hids.messages.terms import Agent, AgentId

TAKEOVERS = 3
TAKEOVERS_MS = 600_000
"""So many sessions that take over from another address within so long are a machine and its copy."""


class Presence:
    """One agent as its session sees it."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.connected = False
        self.since_ms = 0
        self.seen_ms = 0
        self.ended_ms = 0
        self.epoch = 0
        self.committed = 0
        self.lines = 0
        """Received in this session."""
        self.spooled = 0
        self.stopped = ""
        self.clock_offset_ms = 0
        self.read_through_ms = 0
        self.machine_id = ""
        self.canary_s = 0
        """A canary comes each so many seconds; 0: none was promised."""
        self.certificate = b""
        """DER, as the live session showed it."""
        self.hangup: Callable[[str, int], None] | None = None
        """Ends the live session: reason for the agent, seconds until it may retry (0: it needs a person)."""
        self.held_back = False
        """Its session reads nothing at the moment, for want of credit: its silence says nothing."""
        self.send: Callable[[ToAgent], None] | None = None
        """Sends to the live session."""
        self.ended_reason = ""
        self.groups: tuple[str, ...] = ()
        self.os = ""
        self.software = ""
        self.abilities: frozenset[str] = frozenset()
        """What it understands (`Ability`)."""
        self.config = ""
        """Version of the manager's configuration that it has taken."""
        self.config_sent: str | None = None
        """Version that was sent in this session; None when none was."""
        self.config_problem = ""
        """Why it did not take that; empty when it did, or did not answer yet."""
        self._takeovers: deque[int] = deque(maxlen=TAKEOVERS)
        """When sessions from another address took this one over."""
        self.told_silent = False
        """The rules have been told that it is gone."""

    def begin(
        self,
        hello: Hello,
        groups: tuple[str, ...],
        certificate: bytes,
        now_ms: int,
        hangup: Callable[[str, int], None],
        send: Callable[[ToAgent], None],
    ) -> None:
        """A session begins: it is the live one from now on."""
        self.hangup, self.send = hangup, send
        self.connected = True
        self.groups = groups
        self.os = hello.os
        self.software = hello.software
        self.abilities = frozenset(hello.abilities)
        self.config = hello.config
        self.config_problem, self.config_sent = "", None
        self.machine_id = hello.machine_id
        self.since_ms = self.seen_ms = now_ms
        self.lines = 0
        self.held_back = False
        self.epoch = hello.epoch
        self.canary_s = hello.canary_s
        self.certificate = certificate
        self.clock_offset_ms = clock_offset_ms(now_ms, hello.clock_ms)

    def beat(self, beat: Heartbeat, now_ms: int) -> None:
        """It has told how it is."""
        self.seen_ms = now_ms
        self.clock_offset_ms = clock_offset_ms(now_ms, beat.clock_ms)
        self.read_through_ms = beat.read_through_ms
        self.spooled = beat.spooled
        self.stopped = beat.stopped

    def hold(self, *, held_back: bool, now_ms: int) -> None:
        """It cannot be heard, for want of credit; when it can, its time begins anew."""
        if self.held_back != held_back:
            self.held_back = held_back
            self.seen_ms = now_ms

    def end(self, reason: str, now_ms: int) -> None:
        """The live session is over."""
        self.connected = False
        self.hangup = self.send = None
        self.ended_reason = reason
        self.ended_ms = now_ms

    def is_copied(self, now_ms: int) -> bool:
        """Taken over from another address once more: two machines that take one identity from each other are a copy."""
        taken = self._takeovers
        taken.append(now_ms)
        if len(taken) < TAKEOVERS or now_ms - taken[0] >= TAKEOVERS_MS:
            return False
        taken.clear()
        return True


class Refusal(NamedTuple):
    """An agent was not let in."""

    at_ms: int
    reason: str
    address: str


MAX_REFUSALS = 10_000


class Fleet:
    """Presences by agent id."""

    def __init__(self) -> None:
        self.refusals: dict[str, Refusal] = {}
        """Agent id -> the last one since main started. Written by the registrar's thread, whole entries only."""
        self._presences: dict[AgentId, Presence] = {}

    def of(self, agent: Agent) -> Presence:
        """The presence of an agent, made when it is the first time."""
        presence = self._presences.setdefault(agent.id, Presence(agent))
        presence.agent = agent
        return presence

    def get(self, agent_id: str) -> Presence | None:
        """The presence of an agent that was here since main started."""
        return self._presences.get(AgentId(agent_id))

    def all(self) -> tuple[Presence, ...]:
        """Every agent that was here since main started."""
        return tuple(self._presences.values())

    def refused(self, agent_id: AgentId, refusal: Refusal) -> None:
        """Note a refusal; beyond MAX_REFUSALS agents only known ones get a newer one."""
        if agent_id in self.refusals or len(self.refusals) < MAX_REFUSALS:
            self.refusals[agent_id] = refusal

    @property
    def connected(self) -> int:
        """Live sessions."""
        return sum(presence.connected for presence in self._presences.values())
