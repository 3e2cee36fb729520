"""Reports from what is on disk, and those of the calendar: each once, when its time is over."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog
from waiting import SetClock

from hids.adapters.outbox import OutboxRow
from hids.adapters.reports import CHART, MAX_MAIL_CHARS, PATIENCE_MS, ScheduledReports, alerts_between
from hids.adapters.search_index import SearchIndex
from hids.core.report import Question
from hids.core.report_schedule import MISSED_AT_MOST, Scheduled, midnight_ms
from hids.errors import StoreError
from hids.ports import Mail

AT_MS = 1_795_490_503_123
DAY = datetime.fromtimestamp(AT_MS / 1000).date()  # noqa: DTZ006 - days are local


class Bench:
    """A folder of reports, with a clock at the end of the alerts' day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SetClock(midnight_ms(DAY + timedelta(days=1)) + PATIENCE_MS)
        self.posted: list[Mail] = []
        self.problem = ""

    def post(self, mail: Mail) -> None:
        if self.problem:
            raise StoreError(self.problem)
        self.posted.append(mail)

    def run(self, *reports: Scheduled) -> None:
        alerts = partial(alerts_between, self.folder / "search.db", self.folder / "alerts.json")
        state = self.folder / "reports.json"
        ScheduledReports(reports, self.folder / "reports", state, alerts, self.clock, self.post).run()

    def names(self) -> list[str]:
        folder = self.folder / "reports"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def bench(tmp_path: Path, make_lines: Callable[..., bytes]) -> Bench:
    (tmp_path / "alerts.json").write_bytes(make_lines(1, 3))
    return Bench(tmp_path)


def test_a_report_is_made_once_when_its_time_is_over(bench: Bench):
    daily = Scheduled("All", format="json")
    bench.clock.ms -= 1
    bench.run(daily)
    assert bench.names() == []
    bench.clock.ms += 1
    bench.run(daily, Scheduled("All", "weekly"), Scheduled("All", "monthly", "text"))
    name = f"{DAY}-daily-all.json"
    assert name in bench.names()
    assert len(bench.names()) == 3
    path = bench.folder / "reports" / name
    made = path.read_bytes()
    report = json.loads(made)
    assert (report["alerts"], report["title"], path.stat().st_mode & 0o777) == (3, f"All, {DAY}", 0o640)
    bench.clock.ms += 60_000
    bench.run(daily)
    assert path.read_bytes() == made


def test_what_was_due_while_nobody_ran_is_made_once(bench: Bench):
    report = Scheduled("All", email_to=("me@example.com",))
    bench.run(report)
    bench.clock.ms += 4 * 86_400_000
    bench.run(report)
    bench.run(report)
    days = [str(DAY + timedelta(days=n)) for n in range(5)]
    assert bench.names() == [f"{day}-daily-all.html" for day in days]
    assert [mail.id for mail in bench.posted] == [f"report.{day}-daily-all" for day in days]
    assert bench.posted[0].subject == f"All, {DAY}: 3 alerts, highest level 5"
    assert bench.posted[1].subject.endswith(": 0 alerts, highest level 0")


def test_after_a_year_away_only_the_newest_are_made(bench: Bench):
    report = Scheduled("All", format="text")
    bench.run(report)
    bench.clock.ms += 365 * 86_400_000
    bench.run(report)
    assert len(bench.names()) == 1 + MISSED_AT_MOST
    assert bench.names()[-1] == f"{DAY + timedelta(days=365)}-daily-all.txt"


def test_a_report_that_is_removed_is_not_made_again(bench: Bench):
    report = Scheduled("All", keep_days=2)
    bench.run(report)
    (bench.folder / "reports" / "2026-11-01-daily-all.html.bak").write_text("somebody's")
    (bench.folder / "reports" / "2026-99-01-daily-all.html").write_text("somebody's")
    (bench.folder / "reports" / "2020-11-01-daily-all-of-it.html").write_text("another report's")
    others = sorted(set(bench.names()) - {f"{DAY}-daily-all.html"})
    bench.clock.ms += 86_400_000
    bench.run(report)
    assert f"{DAY}-daily-all.html" in bench.names()
    bench.clock.ms += 86_400_000
    with structlog.testing.capture_logs() as logs:
        bench.run(report)
        bench.run(report)
    days = [f"{DAY + timedelta(days=n)}-daily-all.html" for n in (1, 2)]
    assert bench.names() == sorted([*others, *days])
    removed = [line for line in logs if line["event"] == "report removed"]
    assert [(Path(line["path"]).name, line["reason"]) for line in removed] == [
        (f"{DAY}-daily-all.html", "older than 2 days")
    ]


def test_one_that_fails_keeps_no_other_back_and_is_made_again(bench: Bench):
    bench.problem = "the disk is full"
    with pytest.raises(StoreError, match="the disk is full"):
        bench.run(Scheduled("Mailed", email_to=("me@example.com",)), Scheduled("Other"))
    assert f"{DAY}-daily-other.html" in bench.names()
    bench.problem = ""
    bench.run(Scheduled("Mailed", email_to=("me@example.com",)), Scheduled("Other"))
    assert [mail.to for mail in bench.posted] == [("me@example.com",)]


def test_without_memory_the_files_say_what_was_made(bench: Bench):
    report = Scheduled("All", email_to=("me@example.com",))
    bench.run(report)
    (bench.folder / "reports.json").write_bytes(b"\xff{")
    bench.run(report)
    assert len(bench.posted) == 1


def test_a_mail_has_text_a_page_and_its_picture(bench: Bench):
    bench.run(Scheduled("<All>", format="json", email_to=("me@example.com",)))
    (mail,) = bench.posted
    assert "->Processed alerts: 3" in mail.text
    assert mail.html.startswith("<!DOCTYPE html>")
    assert "<svg" not in mail.html
    assert f'<img src="cid:{CHART}"' in mail.html
    assert "&lt;All&gt;" in mail.html
    assert mail.pictures[CHART].startswith(b"\x89PNG")


def test_lines_that_are_too_long_for_a_mail_stay_in_the_file(bench: Bench, make_lines: Callable[..., bytes]):
    (bench.folder / "alerts.json").write_bytes(make_lines(1, 40, full_log="x" * 60_000))
    bench.run(Scheduled("All", show_logs=True, email_to=("me@example.com",)))
    (mail,) = bench.posted
    path = bench.folder / "reports" / f"{DAY}-daily-all.html"
    assert len(mail.text) < MAX_MAIL_CHARS
    assert mail.text.endswith(f"they are in {path}\n")
    assert "x" * 60_000 in path.read_text()


def test_the_index_gives_the_alerts_where_there_is_one(tmp_path: Path, make_lines: Callable[..., bytes]):
    with closing(SearchIndex(tmp_path / "search.db", 100)) as index:
        index.add([OutboxRow(first=1, count=5, lines=make_lines(1, 5))])
    wanted = Question("All", AT_MS, AT_MS + 1)
    assert len(list(alerts_between(tmp_path / "search.db", tmp_path / "none", wanted))) == 5
    nothing = Question("All", AT_MS - 1, AT_MS)
    assert list(alerts_between(tmp_path / "search.db", tmp_path / "none", nothing)) == []


def test_a_folder_that_cannot_be_made_is_told(bench: Bench):
    (bench.folder / "reports").write_text("a file")
    with pytest.raises(StoreError, match="reports"):
        bench.run(Scheduled("All"))
