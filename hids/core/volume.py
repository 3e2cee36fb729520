"""Volume: how many lines an hour usually brings, so that far more than that is news. OSSEC's stats.

Two averages are learned: of each hour of the day, and of each hour of each day of the week. The latter counts once it
has been seen often enough; an hour that neither knows is never too busy.
"""

import msgspec

LEARN_HOURS = 3
"""An average of fewer hours says nothing; OSSEC waits for three days as well."""
WEIGHT_AT_MOST = 8
"""An average forgets: a new hour counts at least one in so many."""
EXCESS = 1.5
"""So much more than the average, times it, is too much; OSSEC's `stats_percent_diff` of 150."""
LEAST_EXCESS = 1_250
"""And at least so many lines more; OSSEC's `stats_mindiff`."""


class Average(msgspec.Struct):
    """Of lines in an hour."""

    hours: int = 0
    lines: float = 0.0

    def add(self, lines: int) -> None:
        """One more hour."""
        self.hours += 1
        self.lines += (lines - self.lines) / min(self.hours, WEIGHT_AT_MOST)


class Volume(msgspec.Struct):
    """What is known, and the hour that runs."""

    by_hour: dict[int, Average] = {}
    by_weekday: dict[int, Average] = {}
    """24 * weekday + hour; Monday is 0."""
    hour: int = -1
    """Hours since 1970 of the one that runs; -1: none does."""
    lines: int = 0
    """So many in it."""
    whole: bool = False
    """It was seen from its beginning on: only such hours are learned."""
    told: bool = False

    def add(self, hour: int, place: tuple[int, int], lines: int) -> str | None:
        """So many lines came now.

        Args:
            hour: hours since 1970.
            place: weekday and hour of the day, as people here count them.
            lines: since the last call.

        Returns:
            What is to be told, once an hour.
        """
        if hour != self.hour:
            self._end(hour)
        self.lines += lines
        average = self.average(place)
        if average is None or self.told or self.lines <= average + max(EXCESS * average, LEAST_EXCESS):
            return None
        self.told = True
        return f"{self.lines} lines in the hour from {place[1]}:00, usually {round(average)}"

    def average(self, place: tuple[int, int]) -> float | None:
        """Lines that an hour of the week usually has; None: not known."""
        weekday, hour = place
        for known in (self.by_weekday.get(24 * weekday + hour), self.by_hour.get(hour)):
            if known is not None and known.hours >= LEARN_HOURS:
                return known.lines
        return None

    def learn(self, place: tuple[int, int]) -> None:
        """The hour that runs is over; it was the one at this place."""
        if self.whole:
            weekday, hour = place
            self.by_hour.setdefault(hour, Average()).add(self.lines)
            self.by_weekday.setdefault(24 * weekday + hour, Average()).add(self.lines)

    def _end(self, hour: int) -> None:
        self.whole = self.hour == hour - 1
        self.hour, self.lines, self.told = hour, 0, False
