"""Monitor: once a second, looks for what is silent, and hangs up on sessions whose agent is gone without a word.

    timer --Tick--> monitor --Tell--> dispatcher
    registry --Roll--> monitor

State    since when each agent is as it is; a new life begins to count anew. It counts by a clock that nobody can set, and says
         when the one that can be set has jumped. Which agents were told to be gone is on disk: those that were here before
         main was started are missed, too, and told once. So is how long each of them was away.
Limit    `[agents] disconnected_after_s`, and longer for an agent that is away often. That is learned from absences that were told,
         so none makes the next one longer without an alert.
"""

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.learned import Learned, Store
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.silence import Pace, absences
from hids.errors import HidsError
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0

SILENT_S = 45.0
"""A session without a word for so long is dead, whatever TCP says: its host lost power, say.

Heartbeats come each 10 s.
"""
LATE_S = 5.0
"""A tick that comes so late says that we were stopped: agents get their time anew."""
JUMP_MS = 60_000
"""A clock that is so far from where it should be is told."""


SAVE_EVERY = 10
"""Ticks between two savings: by then the rules have seen it."""


class Tick(OneLife):
    """timer -> monitor."""


class Gone(msgspec.Struct, frozen=True):
    """What is kept."""

    told: frozenset[AgentId] = frozenset()
    """Agents of which the rules know that they are gone."""
    paces: dict[AgentId, Pace] = {}
    """Of those that were told at least once: their absences."""


class Known(NamedTuple):
    """An agent that was here once."""

    agent: Agent
    seen_ms: int


class Roll(OneLife):
    """registry -> monitor: all agents that may come."""

    def __init__(self, known: Sequence[Known]) -> None:
        self.known = known


class Records(NamedTuple):
    """agents.db, as far as the monitor needs it. Both raise HidsError."""

    roll: Callable[[], Awaitable[Sequence[Known]]]
    """All agents that may come."""
    note: Callable[[Mapping[AgentId, int]], Awaitable[None]]
    """Writes when agents were here last."""


class _Watched(NamedTuple):
    """How an agent was seen last, and since when it is so."""

    connected: bool
    seen_ms: int
    since_s: float


class Monitor(LoopActor):
    """Tell the rules about agents that went away and did not come back."""

    def __init__(
        self,
        mailbox: Mailbox,
        fleet: Fleet,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
        records: Records,
        store: Store,
        *,
        disconnected_after_s: float,
        disconnected_at_most_s: float,
    ) -> None:
        """`store` keeps who was told, after `disconnected_after_s` or what is learned, up to `..._at_most_s`."""
        super().__init__(mailbox)
        self._records = records
        self._noted: dict[AgentId, int] = {}
        """When each agent was here last, as it is on disk."""
        self._noting: asyncio.Task[None] | None = None
        self._learned = Learned(store, Gone, "agents that are gone")
        self._gone = self._learned.load()
        self._paces = dict(self._gone.paces)
        self._terms = absences(round(disconnected_after_s * 1000), round(disconnected_at_most_s * 1000))
        self._came_back = False
        self._calling: asyncio.Task[None] | None = None
        self._called = False
        self._ticks = 0
        self._fleet = fleet
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._after_s = disconnected_after_s
        self._watched: dict[AgentId, _Watched] = {}
        self._looked_ms, self._looked_s = clock.now_ms(), clock.monotonic_s()
        self._patient_until_s = 0.0
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Tick | Roll) -> None:
        """Look once, or learn who may be missing."""
        match message:
            case Tick():
                if not self._called and self._calling is None:
                    self._calling = self.loop.create_task(self._call_roll())
                self._look()
                self._keep()
                self._timer = self.later(TICK_S, Tick())
            case Roll():
                self._expect(message.known)

    async def _call_roll(self) -> None:
        try:
            self.remind(Roll(await self._records.roll()))
        except HidsError as error:
            log.warning("the registry does not answer, asking again", reason=str(error))
        finally:
            self._calling = None

    def _expect(self, known: Sequence[Known]) -> None:
        """Those that were not here since main was started are gone for as long as it runs."""
        self._called = True
        living = {each.agent.id for each in known}
        self._paces = {agent_id: pace for agent_id, pace in self._paces.items() if agent_id in living}
        for agent, seen_ms in known:
            self._noted[agent.id] = seen_ms
            if self._fleet.get(agent.id) is None:
                presence = self._fleet.of(agent)
                presence.seen_ms = presence.ended_ms = seen_ms
                presence.told_silent = agent.id in self._gone.told

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s > LATE_S:
            self._patient_until_s = now_s + SILENT_S
        self._watch_clock(now_s)
        self._looked_s = now_s
        for presence in self._fleet.all():
            quiet_s = now_s - self._since_s(presence, now_s)
            if self._is_dead(presence, quiet_s, now_s) and presence.hangup is not None:
                presence.hangup("no heartbeat came", 1)
            elif presence.connected:
                self._is_here(presence)
                continue
            elif quiet_s < self._limit_s(presence):
                continue
            if not presence.told_silent:
                self._tell(presence)

    def _is_here(self, presence: Presence) -> None:
        """Learn how long one was away that was told and is back."""
        pace = self._paces.get(presence.agent.id)
        if pace is not None and pace.told and not presence.told_silent:
            pace.heard(self._clock.now_ms())
            self._came_back = True

    def _limit_s(self, presence: Presence) -> float:
        """How long it may be away now."""
        pace = self._paces.get(presence.agent.id)
        if pace is None or pace.told:
            return self._after_s
        pace.goes_on(presence.seen_ms)
        limit_ms = pace.limit_ms(self._terms)
        return self._after_s if limit_ms is None else limit_ms / 1000

    def _keep(self) -> None:
        """Keep who is told to be gone, and when who was here."""
        self._ticks += 1
        if self._ticks % SAVE_EVERY or not self._called:
            return
        self._note_seen()
        told = frozenset(presence.agent.id for presence in self._fleet.all() if presence.told_silent)
        if told != self._gone.told or self._came_back:
            gone = self._gone = Gone(told, self._paces)
            self._came_back = False
            self._learned.save(gone)

    def _note_seen(self) -> None:
        seen = {
            presence.agent.id: presence.seen_ms
            for presence in self._fleet.all()
            if presence.seen_ms and presence.seen_ms != self._noted.get(presence.agent.id)
        }
        if seen and self._noting is None:
            self._noting = self.loop.create_task(self._write_seen(seen))

    async def _write_seen(self, seen: Mapping[AgentId, int]) -> None:
        try:
            await self._records.note(seen)
            self._noted |= seen
        except HidsError as error:
            log.warning("when agents were here is not written", reason=str(error))
        finally:
            self._noting = None

    def _watch_clock(self, now_s: float) -> None:
        """Tell of a clock that jumped, or stood still in a sleep that the other one does not count."""
        now_ms = self._clock.now_ms()
        jump_ms = now_ms - self._looked_ms - round((now_s - self._looked_s) * 1000)
        self._looked_ms = now_ms
        if abs(jump_ms) >= JUMP_MS:
            log.warning("the clock jumped", by_ms=jump_ms)
            self._emit(
                Tell(self._manager, f"clock jumped: {'forth' if jump_ms > 0 else 'back'} by {abs(jump_ms) // 1000} s")
            )

    def _since_s(self, presence: Presence, now_s: float) -> float:
        """Since when nothing has changed with an agent, to a tick."""
        known = self._watched.get(presence.agent.id)
        if known is None or (known.connected, known.seen_ms) != (presence.connected, presence.seen_ms):
            known = self._watched[presence.agent.id] = _Watched(presence.connected, presence.seen_ms, now_s - TICK_S)
        return known.since_s

    def _is_dead(self, presence: Presence, quiet_s: float, now_s: float) -> bool:
        """Whether a session that counts as alive has been silent too long, while we were listening."""
        listened = now_s >= self._patient_until_s and not presence.held_back
        return presence.connected and listened and quiet_s >= max(SILENT_S, self._after_s)

    def _tell(self, presence: Presence) -> None:
        presence.told_silent = True
        pace = self._paces.setdefault(presence.agent.id, Pace(presence.seen_ms, presence.seen_ms))
        pace.goes_on(presence.seen_ms)
        pace.told = True
        seen = datetime.datetime.fromtimestamp(presence.seen_ms / 1000, tz=datetime.UTC)
        log.warning("agent disconnected", agent=presence.agent.name)
        self._emit(Tell(presence.agent, f"agent disconnected: last seen {seen:%Y-%m-%dT%H:%M:%SZ}"))

    def closing(self) -> None:
        """Nothing outlives this life."""
        self._timer.cancel()
        for task in (self._calling, self._noting):
            if task is not None:
                task.cancel()
