"""What happens to a pattern that runs out of steps: the text does not match, and after a few the pattern rests.

A pattern that backtracks is ended by its limit, as in the C engines; but each such text costs milliseconds, and whoever
writes logs can write them at will. So a pattern that ran out of steps `STRIKES` times is suspended for the next
`REST_TEXTS` texts that it is asked about, and then tried again: nobody can switch a rule off for good.
"""

from typing import ClassVar

STRIKES = 3
"""Texts on which a pattern may run out of steps. One may be an accident."""

REST_TEXTS = 10_000
"""Texts that a suspended pattern is spared. With 20 ms lost on each text behind them, 2 us a text."""


class Guard:
    """Counts for one pattern how often it ran out of steps, and suspends it."""

    __slots__ = ("_left", "_strikes", "exceeded", "suspensions")

    suspensions_of_all: ClassVar[int] = 0
    """Of all patterns of this process: one look tells whether any was suspended since the last."""

    def __init__(self) -> None:
        self.exceeded = 0
        """Texts on which the steps did not suffice."""
        self.suspensions = 0
        self._strikes = 0
        self._left = 0

    @property
    def resting(self) -> bool:
        """Whether the pattern is suspended."""
        return self._left > 0

    def skips(self) -> bool:
        """Whether the text at hand is spared; counts it."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def strike(self) -> None:
        """The steps did not suffice for a text."""
        self.exceeded += 1
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._strikes = STRIKES - 1  # behind the rest, one more is enough
            self._left = REST_TEXTS
            self.suspensions += 1
            Guard.suspensions_of_all += 1
