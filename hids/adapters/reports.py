"""Reports from the alerts on disk, and those that the calendar asks for."""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hids.adapters.archive import lines_of
from hids.adapters.files import write_atomically
from hids.adapters.search import Search
from hids.adapters.search_query import Query
from hids.core.report import Question, Report, as_text, compose
from hids.core.report_html import as_html
from hids.core.report_schedule import Format, Scheduled, file_name, last_period, midnight_ms, question_of
from hids.errors import StoreError
from hids.ports import Clock, Mailer

ALERTS_AT_MOST = 20_000_000
PATIENCE_MS = 120_000
"""After midnight: agents and the index may be a little behind."""
_MODE = 0o640


def alerts_between(search: Path, alerts_json: Path, question: Question) -> Iterator[bytes]:
    """The alerts of a time: from the index where there is one, else from the alert files.

    Raises:
        StoreError: the index cannot be read.
    """
    if not search.exists():
        yield from lines_of(alerts_json)
        return
    index = Search(search)
    query = Query(since_ms=question.since_ms, until_ms=question.until_ms - 1, limit=ALERTS_AT_MOST, newest_first=False)
    try:
        for _, line in index.find(query):
            yield line
    finally:
        index.close()


def render(report: Report, form: Format) -> bytes:
    """A report as a file's content."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    return (as_html(report) if form == "html" else as_text(report)).encode("utf-8", "replace")


class ScheduledReports:
    """Makes each report once, when its time is over. For one thread."""

    def __init__(
        self,
        reports: Sequence[Scheduled],
        folder: Path,
        search: Path,
        alerts_json: Path,
        clock: Clock,
        mailer: Mailer | None = None,
    ) -> None:
        """`mailer` sends those that are to be mailed; None: they are only written."""
        self._reports = reports
        self._folder = folder
        self._search = search
        self._alerts_json = alerts_json
        self._clock = clock
        self._mailer = mailer

    def run(self) -> list[str]:
        """Make what is due and not there.

        Raises:
            StoreError: one cannot be made now.
        """
        for report in self._reports:
            now_ms = self._clock.now_ms()
            today = datetime.datetime.fromtimestamp(now_ms / 1000).date()  # noqa: DTZ006 - days are local
            first, after = last_period(report.frequency, today)
            path = self._folder / file_name(report, first)
            if now_ms < midnight_ms(after) + PATIENCE_MS or path.exists():
                continue
            self._make(report, question_of(report, first, after), path)
        return []

    def _make(self, report: Scheduled, question: Question, path: Path) -> None:
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot make this folder: {error.strerror}") from error
        made = compose(question, alerts_between(self._search, self._alerts_json, question), self._clock.now_ms())
        if report.email_to and self._mailer is not None:  # first: a report that is there is not made again
            self._mailer.send(report.email_to, question.title, as_text(made), as_html(made))
        write_atomically(path, render(made, report.format), _MODE)
