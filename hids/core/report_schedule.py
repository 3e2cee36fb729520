"""Which reports are due: the days, weeks or months that are over, and how long a report is kept."""

import datetime
import re
from typing import Literal

import msgspec

from hids.core.report import DEFAULT_BY, Key, Question

Frequency = Literal["daily", "weekly", "monthly"]
Format = Literal["html", "text", "json"]
SUFFIX: dict[Format, str] = {"html": "html", "text": "txt", "json": "json"}

MISSED_AT_MOST = 7
"""So many reports of one kind are made at once, when the manager was away for long."""


class Scheduled(msgspec.Struct, frozen=True):
    """A report that is made by the calendar."""

    title: str
    frequency: Frequency = "daily"
    format: Format = "html"
    by: tuple[Key, ...] = DEFAULT_BY
    filters: tuple[tuple[Key, str], ...] = ()
    related: tuple[tuple[Key, Key], ...] = ()
    show_logs: bool = False
    email_to: tuple[str, ...] = ()
    keep_days: int = 0
    """Its file goes so long after its time; 0: never."""

    @property
    def key(self) -> str:
        """Tells it from other reports, also in names of files."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")[:60] or "report"
        return f"{self.frequency}-{slug}"


def last_period(frequency: Frequency, today: datetime.date) -> tuple[datetime.date, datetime.date]:
    """The last one that is over: its first day, and the first day after it. Weeks begin on Monday."""
    if frequency == "daily":
        return today - datetime.timedelta(days=1), today
    if frequency == "weekly":
        end = today - datetime.timedelta(days=today.weekday())
        return end - datetime.timedelta(days=7), end
    end = today.replace(day=1)
    return (end - datetime.timedelta(days=1)).replace(day=1), end


def due(
    frequency: Frequency, through: datetime.date | None, today: datetime.date
) -> list[tuple[datetime.date, datetime.date]]:
    """The periods that are over and not made yet, the oldest first, as `last_period` gives them.

    Args:
        frequency: how long one is.
        through: the first day that no report was made of; None: none was ever made, so only the last one is due.
        today: as days are counted here.

    Returns:
        Those that were missed as well, but not more than `MISSED_AT_MOST` in all, the newest of them.
    """
    found: list[tuple[datetime.date, datetime.date]] = []
    first, after = last_period(frequency, today)
    while len(found) < MISSED_AT_MOST and (not found if through is None else first >= through):
        found.insert(0, (first, after))
        first, after = last_period(frequency, first)
    return found


def midnight_ms(day: datetime.date, tz: datetime.tzinfo | None = None) -> int:
    """When a day begins, in `tz`; None is the zone of this process."""
    begin = datetime.datetime.combine(day, datetime.time())
    return int((begin.replace(tzinfo=tz) if tz is not None else begin.astimezone()).timestamp() * 1000)


def question_of(report: Scheduled, first: datetime.date, after: datetime.date) -> Question:
    """What is asked for the days from `first` up to the one before `after`."""
    return Question(
        title=f"{report.title}, {first}" if report.frequency == "daily" else f"{report.title}, from {first}",
        since_ms=midnight_ms(first),
        until_ms=midnight_ms(after),
        by=report.by,
        filters=report.filters,
        related=report.related,
        logs=report.show_logs,
    )


def file_name(report: Scheduled, first: datetime.date) -> str:
    """Of the report that begins on a day."""
    return f"{first}-{report.key}.{SUFFIX[report.format]}"


def is_over(report: Scheduled, name: str, today: datetime.date) -> bool:
    """Whether a file, by its name, is of this report and has been kept long enough."""
    found = re.fullmatch(rf"(\d{{4}}-\d\d-\d\d)-{re.escape(report.key)}\.(?:{'|'.join(SUFFIX.values())})", name)
    if found is None or not report.keep_days:
        return False
    try:
        first = datetime.date.fromisoformat(found[1])
    except ValueError:  # somebody else's
        return False
    return first + _LONGEST[report.frequency] + datetime.timedelta(days=report.keep_days) <= today


_LONGEST: dict[Frequency, datetime.timedelta] = {
    "daily": datetime.timedelta(days=1),
    "weekly": datetime.timedelta(days=7),
    "monthly": datetime.timedelta(days=31),
}
"""From the first day of a period to the one after it, at most."""
