"""Monitor: once a second, looks for agents that are gone, and hangs up on sessions whose agent is gone without a word.

    timer --Tick--> monitor --Tell--> dispatcher

How long an agent may be away is `[agents] disconnected_after_s`, unless it is known to be away longer now and then: that is
learned from absences that were told, so none makes the next one longer without an alert.

State    when each agent was here last, whether it was told that it is gone, and what is learned; saved each minute and when
         something was told. So an agent that left while the manager was down is told, too, and none twice.
"""

import datetime

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.silence import Store
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.silence import Pace, absences
from hids.errors import StoreError
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0
SAVE_EVERY = 60
"""Ticks between two savings."""

SILENT_MS = 45_000
"""A session without a word for so long is dead, whatever TCP says: its host lost power, say.

Heartbeats come each 10 s.
"""
LATE_MS = 5_000
"""A tick that comes so late says that we slept, or that the clock was set: agents get their time anew."""


class Tick(OneLife):
    """timer -> monitor."""


class Forget(msgspec.Struct, frozen=True):
    """control -> monitor: this agent was removed."""

    agent: AgentId


class Known(msgspec.Struct):
    """An agent that was here."""

    agent: Agent
    pace: Pace


class Absences(msgspec.Struct):
    """What is saved."""

    agents: dict[AgentId, Known] = {}


class Monitor(LoopActor):
    """Tell the rules about agents that went away and did not come back."""

    def __init__(
        self,
        mailbox: Mailbox,
        fleet: Fleet,
        store: Store,
        clock: Clock,
        emit: Emit[Tell],
        *,
        disconnected_after_s: float,
        disconnected_at_most_s: float,
    ) -> None:
        """An agent is told to be gone after `disconnected_after_s`, or after what is learned, up to `disconnected_at_most_s`."""
        super().__init__(mailbox)
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._emit = emit
        self._after_ms = int(disconnected_after_s * 1000)
        self._terms = absences(self._after_ms, int(disconnected_at_most_s * 1000))
        self._began_ms = self._looked_ms = clock.now_ms()
        self._patient_until_ms = 0
        self._ticks = 0
        self._known = self._load()
        self._remind_fleet()
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Tick | Forget) -> None:
        """Look once, or forget an agent."""
        match message:
            case Tick():
                self._look()
                self._timer = self.later(TICK_S, Tick())
            case Forget():
                self._known.agents.pop(message.agent, None)
                self._save()

    def on_shutdown(self) -> None:
        """Save, then stop."""
        self._save()
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        known = self._known.agents.values()
        return {
            "gone": sum(each.pace.told for each in known),
            "often_away": sum(self._limit_ms(each) > self._after_ms for each in known),
        }

    def _look(self) -> None:
        now_ms = self._clock.now_ms()
        late_ms = now_ms - self._looked_ms - int(TICK_S * 1000)
        if abs(late_ms) > LATE_MS:
            self._patient_until_ms = now_ms + SILENT_MS
            for known in self._known.agents.values():
                known.pace.shift(late_ms)
        self._looked_ms = now_ms
        for presence in self._fleet.all():
            self._look_at(presence, now_ms)
        self._ticks += 1
        if self._ticks % SAVE_EVERY == 0:
            self._save()

    def _look_at(self, presence: Presence, now_ms: int) -> None:
        known = self._known.agents.get(presence.agent.id)
        if self._is_dead(presence, now_ms) and presence.hangup is not None:
            presence.hangup("no heartbeat came", 1)
        elif presence.connected:
            self._is_here(presence, known, now_ms)
            return
        elif now_ms - max(presence.ended_ms, self._began_ms) < self._limit_ms(known):
            return
        if not presence.told_silent:
            self._tell(presence, known)

    def _is_here(self, presence: Presence, known: Known | None, now_ms: int) -> None:
        if presence.told_silent:  # it was removed, and its session is about to end
            return
        if known is None:
            known = self._known.agents[presence.agent.id] = Known(presence.agent, Pace(now_ms, now_ms))
        known.agent = presence.agent
        if known.pace.told:
            known.pace.heard(now_ms)
        else:
            known.pace.goes_on(now_ms)

    def _limit_ms(self, known: Known | None) -> int:
        limit = known.pace.limit_ms(self._terms) if known is not None else None
        return self._after_ms if limit is None else limit

    def _is_dead(self, presence: Presence, now_ms: int) -> bool:
        """Whether a session that counts as alive has been silent too long, while we were listening."""
        listened = now_ms >= self._patient_until_ms and not presence.held_back
        silent_ms = now_ms - presence.seen_ms
        return presence.connected and listened and silent_ms >= max(SILENT_MS, self._after_ms)

    def _tell(self, presence: Presence, known: Known | None) -> None:
        presence.told_silent = True
        seen = datetime.datetime.fromtimestamp(presence.seen_ms / 1000, tz=datetime.UTC)
        log.warning("agent disconnected", agent=presence.agent.name)
        self._emit(Tell(presence.agent, f"agent disconnected: last seen {seen:%Y-%m-%dT%H:%M:%SZ}"))
        if known is not None:
            known.pace.told = True
            self._save()

    def _remind_fleet(self) -> None:
        """Let the fleet know who was here before main started; their time begins anew."""
        for known in self._known.agents.values():
            if self._fleet.get(known.agent.id) is None:
                presence = self._fleet.of(known.agent)
                presence.seen_ms = presence.ended_ms = known.pace.last_ms
                presence.told_silent = known.pace.told

    def _load(self) -> Absences:
        try:
            data = self._store.load()
            return Absences() if data is None else msgspec.json.decode(data, type=Absences)
        except (OSError, StoreError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("which agents were here is not known any more", reason=str(error))
            return Absences()

    def _save(self) -> None:
        try:
            self._store.save(msgspec.json.encode(self._known))
        except StoreError as error:
            log.warning("which agents are here is not saved", reason=str(error))
