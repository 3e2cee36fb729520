"""Times of day and days of the week, as rules write them: `6 pm - 8:30 am`, `weekdays`.

They are asked of local time, which the caller works out: milliseconds since the epoch as a clock on the wall shows
them, so that no zone is known here.
"""

import re

import msgspec

from hids.core.dialect import Dialect

_MINUTE_MS = 60_000
_DAY_MINUTES = 24 * 60

_CLOCK = r"([0-9]{1,2})(?::([0-9]{2}))?\s*(am|pm)?"
_HOURS = re.compile(rf"\s*(!?)\s*{_CLOCK}\s*-\s*{_CLOCK}\s*", re.IGNORECASE)
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Hours(msgspec.Struct, frozen=True):
    """Minutes of the day, both ends included."""

    first: int
    last: int
    negated: bool = False

    def hold(self, local_ms: int) -> bool:
        """Whether this moment is in."""
        minute = local_ms // _MINUTE_MS % _DAY_MINUTES
        return (self.first <= minute <= self.last) is not self.negated


def hours(text: str, dialect: Dialect) -> Hours:
    """Read `<time>`. Raises ValueError.

    A range over midnight is what lies outside of the range between its ends. Upstream leaves out both ends with it;
    ours counts them in.
    """
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"a time looks like 18:00 - 8:30 or 6 pm - 8:30 am, got {text!r}")
    first, last = _minute(*match.group(2, 3, 4)), _minute(*match.group(5, 6, 7))
    negated = bool(match.group(1))
    if first <= last:
        return Hours(first, last, negated)
    inner = (last + 1, first - 1) if dialect == "hids" else (last, first)
    return Hours(*inner, not negated)


def _minute(hour_text: str, minute_text: str | None, half: str | None) -> int:
    hour, minute = int(hour_text), int(minute_text or 0)
    if half is not None:
        if not 1 <= hour <= 12:  # noqa: PLR2004
            raise ValueError(f"with am or pm an hour is 1 to 12, got {hour}")
        hour = hour % 12 + 12 * (half.lower() == "pm")
    if hour > 24 or minute > 59 or (hour == 24 and minute):  # noqa: PLR2004
        raise ValueError(f"a time is 0:00 to 24:00, got {hour}:{minute:02}")
    return hour * 60 + minute


class Days(msgspec.Struct, frozen=True):
    """Days of the week; Monday is 0."""

    days: frozenset[int]

    def hold(self, local_ms: int) -> bool:
        """Whether this moment is in."""
        return (local_ms // (_MINUTE_MS * _DAY_MINUTES) + _EPOCH_WEEKDAY) % 7 in self.days


def days(text: str) -> Days:
    """Read `<weekday>`: names with commas or spaces between them, `weekdays`, `weekends`. Raises ValueError."""
    found: set[int] = set()
    for word in text.lower().replace(",", " ").split():
        if word in ("weekdays", "weekends"):
            found |= set(range(5) if word == "weekdays" else range(5, 7))
            continue
        named = [day for day, name in enumerate(_NAMES) if word in (name, name[:3])]
        if not named:
            raise ValueError(f"a day is monday to sunday, weekdays or weekends, got {word!r}")
        found |= set(named)
    if not found:
        raise ValueError("a weekday is missing")
    return Days(frozenset(found))
