"""The clock for what is removed or put away by age; see `hids.core.believed`.

What is believed is kept in a file, so that a machine that starts with a wrong clock removes nothing. The keeper writes it,
all others read it when they start.
"""

from pathlib import Path

import msgspec
import structlog

from hids.adapters.files import write_atomically
from hids.core.believed import JUMP_MS, Believed
from hids.ports import Clock

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FILE = "clock.json"
"""Its name, in the folder of the manager's state."""

_DAY_MS = 86_400_000


class BelievedClock:
    """`hids.ports.Clock` that does not jump forth. For one thread."""

    def __init__(self, clock: Clock, lib: Path | None) -> None:
        """`lib` is the folder of the manager's state; None: nothing is kept, and at the start the clock is believed."""
        self._clock = clock
        self._path = lib / FILE if lib is not None else None
        self._state = self._load()
        self._looked_s = clock.monotonic_s()

    def now_ms(self) -> int:
        """Believed milliseconds since the epoch, UTC."""
        return self.look().at_ms

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment of this boot."""
        return self._clock.monotonic_s()

    def look(self) -> Believed:
        """Where believed time is now."""
        now_s = self._clock.monotonic_s()
        lived_ms, self._looked_s = round((now_s - self._looked_s) * 1000), now_s
        self._state = self._state.after(lived_ms, self._clock.now_ms())
        return self._state

    def save(self) -> None:
        """Keep it for later lives.

        Raises:
            StoreError: the disk refuses.
        """
        if self._path is not None:
            write_atomically(self._path, msgspec.json.encode(self.look()), 0o640)

    def _load(self) -> Believed:
        if self._path is not None and self._path.exists():
            try:
                return msgspec.json.decode(self._path.read_bytes(), type=Believed)
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                log.warning("what was believed of the clock is lost", file=str(self._path), reason=str(error))
        return Believed(self._clock.now_ms())


class ClockWatch:
    """The keeper's duty: keep what is believed, and say when the clock is in doubt and when it no longer is."""

    def __init__(self, believed: BelievedClock) -> None:
        self._believed = believed
        self._told_ms = 0

    def run(self) -> list[str]:
        """Look; returns what the rules shall see.

        Raises:
            StoreError: it cannot be kept.
        """
        self._believed.save()
        doubt_ms = self._believed.look().doubt_ms
        if not doubt_ms:
            told, self._told_ms = self._told_ms, 0
            return ["clock believed: what is old is removed again"] if told else []
        if doubt_ms - self._told_ms <= JUMP_MS:
            return []
        self._told_ms = doubt_ms
        return [
            f"clock in doubt: {_span(doubt_ms)} ahead of the time that was seen to pass; nothing is removed for its age for a day"
        ]


def _span(span_ms: int) -> str:
    days = span_ms / _DAY_MS
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} hours"
