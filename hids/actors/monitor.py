"""Monitor: once a second, looks for what is silent, and hangs up on sessions whose agent is gone without a word.

    timer --Tick--> monitor --Tell--> dispatcher

State    none; what it looks at is in the fleet register.
"""

import datetime

import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0

SILENT_MS = 45_000
"""A session without a word for so long is dead, whatever TCP says: its host lost power, say.

Heartbeats come each 10 s.
"""
LATE_MS = 5_000
"""A tick that comes so late says that we slept, or that the clock was set: agents get their time anew."""


class Tick(OneLife):
    """timer -> monitor."""


class Monitor(LoopActor):
    """Tell the rules about agents that went away and did not come back."""

    def __init__(
        self,
        mailbox: Mailbox,
        fleet: Fleet,
        clock: Clock,
        emit: Emit[Tell],
        *,
        disconnected_after_s: float,
    ) -> None:
        super().__init__(mailbox)
        self._fleet = fleet
        self._clock = clock
        self._emit = emit
        self._after_ms = int(disconnected_after_s * 1000)
        self._looked_ms = clock.now_ms()
        self._patient_until_ms = 0
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Tick) -> None:
        """Look once."""
        del message
        now_ms = self._clock.now_ms()
        if now_ms - self._looked_ms > LATE_MS:
            self._patient_until_ms = now_ms + SILENT_MS
        self._looked_ms = now_ms
        for presence in self._fleet.all():
            if self._is_dead(presence, now_ms) and presence.hangup is not None:
                presence.hangup("no heartbeat came", 1)
            elif presence.connected or now_ms - presence.ended_ms < self._after_ms:
                continue
            if not presence.told_silent:
                self._tell(presence)
        self._timer = self.later(TICK_S, Tick())

    def _is_dead(self, presence: Presence, now_ms: int) -> bool:
        """Whether a session that counts as alive has been silent too long, while we were listening."""
        listened = now_ms >= self._patient_until_ms and not presence.held_back
        silent_ms = now_ms - presence.seen_ms
        return presence.connected and listened and silent_ms >= max(SILENT_MS, self._after_ms)

    def _tell(self, presence: Presence) -> None:
        presence.told_silent = True
        seen = datetime.datetime.fromtimestamp(presence.seen_ms / 1000, tz=datetime.UTC)
        log.warning("agent disconnected", agent=presence.agent.name)
        self._emit(Tell(presence.agent, f"agent disconnected: last seen {seen:%Y-%m-%dT%H:%M:%SZ}"))

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()
