"""Silence: how long it may be quiet before that is news, learned from how long it was quiet before."""

import msgspec

LEARN_MS = 24 * 3600 * 1000
"""Observed at least so long before anything is said: a day with its night."""
LEARN_GAPS = 20
"""... and so many pauses."""
FACTOR = 3.0
"""Times the longest pause known is too long."""
LEAST_MS = 15 * 60 * 1000
"""Never said before."""
HALF_LIFE_MS = 7 * 24 * 3600 * 1000
"""The longest pause counts half after a week, so that an outage is not the measure for ever."""


MORE_THAN_CHANCE = 3
"""So many absences that were told make a habit."""


class Terms(msgspec.Struct, frozen=True):
    """What it takes to know a pace, and what its limit may be."""

    learn_ms: int = LEARN_MS
    learn_gaps: int = LEARN_GAPS
    least_ms: int = LEAST_MS
    most_ms: int | None = None


LINES = Terms()
"""Of lines of a log: silence in a session."""


def absences(least_ms: int, most_ms: int) -> Terms:
    """Of an agent that is away: gaps are absences that were told.

    Who could make them longer step by step, each three times the one before, would be told at each step, and has an end.
    """
    return Terms(learn_gaps=MORE_THAN_CHANCE, least_ms=least_ms, most_ms=max(least_ms, most_ms))


class Pace(msgspec.Struct):
    """How something speaks. Times are milliseconds of any clock that the caller keeps to."""

    since_ms: int
    last_ms: int
    gaps: int = 0
    longest_ms: float = 0.0
    told: bool = False
    """That it is silent has been said."""

    def heard(self, now_ms: int) -> bool:
        """It spoke. Whether that ends a silence that was told."""
        gap = max(0, now_ms - self.last_ms)
        self.goes_on(now_ms)
        self.longest_ms = max(self.longest_ms, gap)
        self.gaps += 1
        told, self.told = self.told, False
        return told

    def goes_on(self, now_ms: int) -> None:
        """It was there all the time: that was no pause."""
        self.longest_ms *= 0.5 ** (max(0, now_ms - self.last_ms) / HALF_LIFE_MS)
        self.last_ms = now_ms

    def limit_ms(self, terms: Terms = LINES) -> int | None:
        """How long it may be quiet; None while that is not known."""
        if self.gaps < terms.learn_gaps or self.last_ms - self.since_ms < terms.learn_ms:
            return None
        limit = round(max(terms.least_ms, FACTOR * self.longest_ms))
        return limit if terms.most_ms is None else min(limit, terms.most_ms)

    def falls_silent(self, now_ms: int) -> bool:
        """Whether it has been quiet for too long; true once in each silence."""
        limit = self.limit_ms()
        if self.told or limit is None or now_ms - self.last_ms <= limit:
            return False
        self.told = True
        return True

    def shift(self, by_ms: int) -> None:
        """The clock was set, or the observer slept: that time does not count."""
        self.since_ms += by_ms
        self.last_ms += by_ms

    def words(self, now_ms: int) -> str:
        """How long it has been quiet, and how long it usually is."""
        quiet, usual = (now_ms - self.last_ms) // 1000, round(self.longest_ms / 1000)
        return f"nothing for {quiet} s, usually at most {usual} s"
