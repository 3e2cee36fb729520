"""The one place where the product reads a clock, and how it writes a time for people."""

import datetime as dt
import time


class SystemClock:
    """`hids.ports.Clock` on the machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment of this boot."""
        return time.monotonic()


def date(at_ms: int) -> str:
    """A time for people, to the second."""
    return f"{dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
