"""Fleet: what main knows of the agents right now. Written by sessions, read by status, control and monitor.

A register on main's loop (see registers.py). It also fences: one live session an agent.
"""

from collections.abc import Callable

from hids.messages import Agent, AgentId


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
        self.told_silent = False
        """The rules have been told that it is gone."""


class Fleet:
    """Presences by agent id."""

    def __init__(self) -> None:
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

    @property
    def connected(self) -> int:
        """Live sessions."""
        return sum(presence.connected for presence in self._presences.values())
