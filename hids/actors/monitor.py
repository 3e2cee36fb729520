"""Monitor: once a second, looks for what is silent.

    timer --Tick--> monitor --Tell--> dispatcher

State    none; what it looks at is in the fleet register.
"""

import datetime

import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0


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
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Tick) -> None:
        """Look once."""
        del message
        now_ms = self._clock.now_ms()
        for presence in self._fleet.all():
            if presence.connected or presence.told_silent or now_ms - presence.ended_ms < self._after_ms:
                continue
            presence.told_silent = True
            seen = datetime.datetime.fromtimestamp(presence.seen_ms / 1000, tz=datetime.UTC)
            log.warning("agent disconnected", agent=presence.agent.name)
            self._emit(Tell(presence.agent, f"agent disconnected: last seen {seen:%Y-%m-%dT%H:%M:%SZ}"))
        self._timer = self.later(TICK_S, Tick())

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()
