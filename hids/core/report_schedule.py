"""Which report is due: the last day, week or month that is over."""

import datetime
import re
from typing import Literal

import msgspec

from hids.core.report import DEFAULT_BY, Key, Question

Frequency = Literal["daily", "weekly", "monthly"]
Format = Literal["html", "text", "json"]
SUFFIX: dict[Format, str] = {"html": "html", "text": "txt", "json": "json"}


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


def last_period(frequency: Frequency, today: datetime.date) -> tuple[datetime.date, datetime.date]:
    """The last one that is over: its first day, and the first day after it. Weeks begin on Monday."""
    if frequency == "daily":
        return today - datetime.timedelta(days=1), today
    if frequency == "weekly":
        end = today - datetime.timedelta(days=today.weekday())
        return end - datetime.timedelta(days=7), end
    end = today.replace(day=1)
    return (end - datetime.timedelta(days=1)).replace(day=1), end


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
    slug = re.sub(r"[^a-z0-9]+", "-", report.title.lower()).strip("-")[:60] or "report"
    return f"{first}-{report.frequency}-{slug}.{SUFFIX[report.format]}"
