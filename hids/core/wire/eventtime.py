"""When a line's event happened, as the agent sees it (architecture, section 6).

What is read live happened when it was read. What is read late happened when its header says, if that is believable:
not in the future, and not more than an hour before the header of the line before it. Otherwise: when it was read.
"""

import datetime as dt
import re
from collections.abc import Callable

SLACK_MS = 3_600_000
"""Lines of one file are at most this far out of order: an hour, which also covers the end of summer time."""

_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
        start=1,
    )
}
_HEAD_BYTES = 512
"""A web server writes the client's name and user before the time; further in, text is not a header."""
_DAY = dt.timedelta(days=1)

_SYSLOG = re.compile(rb"(?:<\d{1,3}>)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)\b")
_ISO = re.compile(
    rb"(?:<\d{1,3}>(?:\d{1,2} )?)?(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
    rb"\s?(Z|[+-]\d\d:?\d\d)?"
)
_WEB = re.compile(rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})\]")
_SECONDS = re.compile(rb"(\d{10})(?:\.(\d{1,9}))?\b")


class EventTimes:
    """Event times of the lines of one file, in their order."""

    def __init__(self, zone: dt.tzinfo | None = None) -> None:
        """Begin a file.

        Args:
            zone: for headers without one; None is the zone of this machine.
        """
        self._zone = zone
        self._before_ms = 0
        self._header = b"\n"  # no line starts with it
        self._header_ms: int | None = None

    def of(self, text: bytes, now_ms: int) -> int:
        """Event time of a line that was not read live, in ms; `now_ms` where its header says nothing believable."""
        at_ms = self._parse(text, now_ms)
        if at_ms is None or not self._before_ms - SLACK_MS <= at_ms <= now_ms:
            return now_ms
        self._before_ms = at_ms
        return at_ms

    def _parse(self, text: bytes, now_ms: int) -> int | None:
        """Lines of the same second mostly have the same first bytes: those are parsed once."""
        if not text.startswith(self._header):
            self._header, self._header_ms = self._first_header(text, now_ms)
        return self._header_ms

    def _first_header(self, text: bytes, now_ms: int) -> tuple[bytes, int | None]:
        head = text[:_HEAD_BYTES]
        for pattern, read in _FORMS:
            found = pattern.match(head)
            if found is not None:
                return found[0], _ms(read(found, self._zone, now_ms))
        found = _WEB.search(head)
        # Not remembered: what stands before it differs from line to line.
        return b"\n", None if found is None else _ms(_web(found))


def _ms(moment: dt.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _syslog(found: re.Match[bytes], zone: dt.tzinfo | None, now_ms: int) -> dt.datetime | None:
    """A header without a year: this year's, or last year's where that would lie in the future."""
    month = _MONTHS.get(found[1])
    if month is None:
        return None
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    for year in (now.year + 1, now.year, now.year - 1):
        moment = _moment((year, month, int(found[2]), *map(int, found.groups()[2:5])), 0, zone)
        if moment is not None and moment <= now + _DAY:
            return moment
    return None


def _iso(found: re.Match[bytes], zone: dt.tzinfo | None, _now_ms: int) -> dt.datetime | None:
    numbers = tuple(map(int, found.groups()[:6]))
    return _moment(numbers, _microseconds(found[7]), zone if found[8] is None else _offset(found[8]))


def _seconds(found: re.Match[bytes], _zone: dt.tzinfo | None, _now_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(found[1]), dt.UTC).replace(microsecond=_microseconds(found[2]))


def _web(found: re.Match[bytes]) -> dt.datetime | None:
    month = _MONTHS.get(found[2])
    if month is None:
        return None
    numbers = (int(found[3]), month, int(found[1]), *map(int, found.groups()[3:6]))
    return _moment(numbers, 0, _offset(found[7]))


def _moment(numbers: tuple[int, ...], microsecond: int, zone: dt.tzinfo | None) -> dt.datetime | None:
    year, month, day, hour, minute, second = numbers
    try:
        moment = dt.datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone)
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None  # 30 February, 25:61


def _microseconds(digits: bytes | None) -> int:
    return int(digits[:6].ljust(6, b"0")) if digits else 0


def _offset(text: bytes) -> dt.tzinfo:
    if text == b"Z":
        return dt.UTC
    sign = -1 if text.startswith(b"-") else 1
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return dt.timezone(sign * dt.timedelta(minutes=min(minutes, 24 * 60 - 1)))


_Reader = Callable[[re.Match[bytes], dt.tzinfo | None, int], dt.datetime | None]
_FORMS: tuple[tuple[re.Pattern[bytes], _Reader], ...] = (
    (_SYSLOG, _syslog),
    (_ISO, _iso),
    (_SECONDS, _seconds),
)
