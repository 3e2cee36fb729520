"""The one place where the product reads a clock."""

import time


class SystemClock:
    """`hids.ports.Clock` on the machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment of this boot."""
        return time.monotonic()
