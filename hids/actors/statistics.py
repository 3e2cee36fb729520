"""Statistics: counts the lines of each hour, learns what is usual, and tells when it is far more.

    timer --Look--> statistics --Tell--> dispatcher

State    the averages, saved each few minutes and at the end: a restart loses minutes of one hour.
"""

import datetime
from collections.abc import Callable

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.learned import Learned, Store
from hids.actors.registers import ProgressRegister
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.volume import Volume
from hids.messages.terms import Agent
from hids.ports import Clock, Emit

log = structlog.get_logger()

LOOK_S = 10.0
SAVE_EVERY = 30
"""Looks between two savings."""
HOUR_MS = 3_600_000


class Look(OneLife):
    """timer -> statistics."""


class Clear(msgspec.Struct, frozen=True):
    """control -> statistics: forget what was learned."""


class Ask(msgspec.Struct, frozen=True):
    """control -> statistics: what is known?"""


class Statistics(LoopActor):
    """Count, learn, tell."""

    def __init__(
        self,
        mailbox: Mailbox,
        register: ProgressRegister,
        store: Store,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
        place_of: Callable[[int], tuple[int, int]] | None = None,
    ) -> None:
        """`place_of` gives weekday and hour of a time; None: by the zone of this process."""
        super().__init__(mailbox)
        self._register = register
        self._learned = Learned(store, Volume, "volume")
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._place_of = place_of or _place
        self._volume = self._learned.load()
        self._seen: dict[str, tuple[int, int]] = {}
        self._looks = 0
        self._timer = self.later(LOOK_S, Look())

    def on_receive(self, message: Look | Clear | Ask) -> Volume | None:
        """Look once, or answer."""
        match message:
            case Look():
                self._look()
                self._timer = self.later(LOOK_S, Look())
                return None
            case Clear():
                self._volume = Volume()
                self._learned.save(self._volume)
                return self._volume
            case Ask():
                return self._volume

    def on_shutdown(self) -> None:
        """Save, then stop."""
        self._learned.save(self._volume)
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"lines_this_hour": self._volume.lines}

    def _look(self) -> None:
        now_ms = self._clock.now_ms()
        hour = now_ms // HOUR_MS
        if 0 <= self._volume.hour < hour:
            self._volume.learn(self._place_of(self._volume.hour * HOUR_MS))
        text = self._volume.add(hour, self._place_of(now_ms), self._lines())
        if text is not None:
            log.warning("excessive number of events", what=text)
            self._emit(Tell(self._manager, f"excessive events: {text}"))
        self._looks += 1
        if self._looks % SAVE_EVERY == 0:
            self._learned.save(self._volume)

    def _lines(self) -> int:
        """Lines that were committed since the last look, but for those that the manager made."""
        lines = 0
        for source, now in self._register.sources().items():
            if source.startswith("derived/"):
                continue
            before = self._seen.get(source)
            self._seen[source] = (now.epoch, now.seq)
            if before is not None:
                lines += now.seq - before[1] if before[0] == now.epoch else now.seq
        return lines


def _place(at_ms: int) -> tuple[int, int]:
    at = datetime.datetime.fromtimestamp(at_ms / 1000).astimezone()
    return at.weekday(), at.hour
