"""Fleet: what main knows of the agents right now. Written by sessions, read by status, control and monitor.

A register on main's loop (see registers.py). It also fences: one live session an agent.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from hids.messages.agent_link import ToAgent
from hids.messages.terms import Agent, AgentId


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
        self.takeovers: deque[int] = deque(maxlen=3)
        """When sessions from another address took this one over."""
        self.told_silent = False
        """The rules have been told that it is gone."""


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
