"""Believed time: what a clock that jumped forth may not do at once is remove what is old.

A clock that is wrong by a year would make a year of evidence "too old" within seconds, and nothing brings it back when the
clock is right again. So whatever is removed or put away by age goes by believed time. It follows the clock, back too, but
does not jump forth with it: it goes on from where it was until the new time has lasted for a day of running.
"""

import msgspec

HOUR_MS = 3_600_000
JUMP_MS = HOUR_MS
"""What is less is no jump: nothing here is removed for being an hour old."""
PROVEN_MS = 24 * HOUR_MS
"""So long may somebody take to see that the clock is wrong."""


class Believed(msgspec.Struct, frozen=True):
    """Where believed time is."""

    at_ms: int
    """Milliseconds since the epoch."""
    doubt_ms: int = 0
    """The clock is so far ahead of it; 0: it is believed."""
    lasted_ms: int = 0
    """For so long."""

    def after(self, lived_ms: int, clock_ms: int) -> "Believed":
        """Go on.

        Args:
            lived_ms: what passed by a clock that nobody can set; 0 for what passed while nobody looked.
            clock_ms: what the clock says now.
        """
        at_ms = self.at_ms + lived_ms
        ahead_ms = clock_ms - at_ms
        if ahead_ms <= JUMP_MS:
            return Believed(clock_ms)
        # A jump that is larger than all that is in doubt has its own day to be seen in.
        lasted_ms = 0 if ahead_ms - self.doubt_ms > max(JUMP_MS, self.doubt_ms) else self.lasted_ms + lived_ms
        return Believed(clock_ms) if lasted_ms >= PROVEN_MS else Believed(at_ms, ahead_ms, lasted_ms)
