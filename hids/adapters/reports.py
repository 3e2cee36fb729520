"""Reports from the alerts on disk, and those that the calendar asks for: files, and mails to whoever shall have them."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from hids.adapters.archive import lines_of
from hids.adapters.files import write_atomically
from hids.adapters.search import Search
from hids.adapters.search_query import Query
from hids.core.report import Question, Report, as_text, compose
from hids.core.report_html import as_html, timeline_png
from hids.core.report_schedule import Format, Scheduled, due, file_name, is_over, midnight_ms, question_of
from hids.errors import StoreError
from hids.ports import Clock, Mail

log = structlog.get_logger()

ALERTS_AT_MOST = 20_000_000
PATIENCE_MS = 120_000
"""After midnight: agents and the index may be a little behind."""
MAX_MAIL_CHARS = 2_000_000
"""A longer mail, which many servers refuse, goes without the alerts' lines."""
CHART = "timeline"
"""Name of the picture in a mail."""
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


class Made(msgspec.Struct):
    """What is remembered of reports."""

    through: dict[str, datetime.date] = {}
    """Report's key -> the first day that none was made of."""


class ScheduledReports:
    """Makes each report once, when its time is over, and removes old ones. For one thread."""

    def __init__(
        self,
        reports: Sequence[Scheduled],
        folder: Path,
        state: Path,
        alerts: Callable[[Question], Iterator[bytes]],
        clock: Clock,
        post: Callable[[Mail], None] | None = None,
    ) -> None:
        """Take the calendar.

        Args:
            reports: of different keys.
            folder: where they are written.
            state: the file that remembers which are made.
            alerts: gives the alerts of a time, as `alerts_between` does.
            clock: the time.
            post: sees to it that a mail is sent, over any restart; None: none is.
        """
        self._reports = reports
        self._folder = folder
        self._state = state
        self._alerts = alerts
        self._clock = clock
        self._post = post

    def run(self) -> list[str]:
        """Make what is due, and remove what is old.

        Raises:
            StoreError: one cannot be made now; the others are.
        """
        made, problem = self._load(), None
        for report in self._reports:
            try:
                self._make_due(report, made)
                self._remove_old(report)
            except StoreError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return []

    def _make_due(self, report: Scheduled, made: Made) -> None:
        through = made.through.get(report.key)
        for first, after in due(report.frequency, through, self._today()):
            path = self._folder / file_name(report, first)
            if self._clock.now_ms() < midnight_ms(after) + PATIENCE_MS:
                return
            if through is not None or not path.exists():  # else what was made is remembered no more
                self._make(report, question_of(report, first, after), path)
            made.through[report.key] = after
            self._save(made)

    def _make(self, report: Scheduled, question: Question, path: Path) -> None:
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot make this folder: {error.strerror}") from error
        now_ms = self._clock.now_ms()
        made = compose(question, self._alerts(question), now_ms)
        if report.email_to and self._post is not None:  # first: a report whose file is there is done
            self._post(_mail(report, made, path))
        write_atomically(path, render(made, report.format), _MODE)
        log.info("report made", path=str(path), alerts=made.alerts, mail_to=len(report.email_to))

    def _remove_old(self, report: Scheduled) -> None:
        today = self._today()
        try:
            for path in sorted(self._folder.glob(f"*-{report.key}.*")):
                if is_over(report, path.name, today):
                    path.unlink()
                    log.info("report removed", path=str(path), reason=f"older than {report.keep_days} days")
        except OSError as error:
            raise StoreError(f"{error.filename}: cannot be removed: {error.strerror}") from error

    def _today(self) -> datetime.date:
        return datetime.datetime.fromtimestamp(self._clock.now_ms() / 1000).date()  # noqa: DTZ006 - days are local

    def _load(self) -> Made:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=Made)
        except FileNotFoundError:
            return Made()
        except OSError as error:
            raise StoreError(f"{self._state}: cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("which reports were made is not known: those whose files are there", reason=str(error))
            return Made()

    def _save(self, made: Made) -> None:
        known = {report.key for report in self._reports}
        made.through = {key: day for key, day in made.through.items() if key in known}
        write_atomically(self._state, msgspec.json.encode(made))


def _mail(report: Scheduled, made: Report, path: Path) -> Mail:
    """A report as a mail: text, and a page with pictures."""
    written = _written(made)
    if sum(map(len, written)) > MAX_MAIL_CHARS and made.logs:
        made = msgspec.structs.replace(made, logs=[])
        text, html = _written(made)
        written = f"{text}\nThe alerts' lines are too long for a mail: they are in {path}\n", html
    return Mail(
        id=f"report.{path.stem}",
        made_ms=made.made_ms,
        to=report.email_to,
        subject=f"{made.title}: {made.alerts} alerts, highest level {made.highest}",
        text=written[0],
        html=written[1],
        pictures={CHART: timeline_png(made)} if made.timeline else {},
    )


def _written(made: Report) -> tuple[str, str]:
    return as_text(made), as_html(made, chart=f"cid:{CHART}")
