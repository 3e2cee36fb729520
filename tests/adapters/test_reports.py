"""Reports from what is on disk, and those of the calendar: each once, when its time is over."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from waiting import SetClock

from hids.adapters.outbox import OutboxRow
from hids.adapters.reports import PATIENCE_MS, ScheduledReports, alerts_between
from hids.adapters.search_index import SearchIndex
from hids.core.report import Question
from hids.core.report_schedule import Scheduled, midnight_ms
from hids.errors import StoreError

AT_MS = 1_795_490_503_123
DAY = datetime.fromtimestamp(AT_MS / 1000).date()  # noqa: DTZ006 - days are local


class Bench:
    """A folder of reports, with a clock at the end of the alerts' day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SetClock(midnight_ms(DAY + timedelta(days=1)))
        self.sent: list[tuple[Sequence[str], str]] = []
        self.refuses = False

    def send(self, to: Sequence[str], subject: str, text: str, html: str) -> None:
        if self.refuses:
            raise StoreError("no mail server")
        assert "Processed alerts: 3" in text
        assert html.startswith("<!DOCTYPE html>")
        self.sent.append((to, subject))

    def run(self, *reports: Scheduled) -> None:
        files = self.folder / "search.db", self.folder / "alerts.json"
        ScheduledReports(reports, self.folder / "reports", *files, self.clock, self).run()

    def names(self) -> list[str]:
        folder = self.folder / "reports"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def bench(tmp_path: Path, make_lines: Callable[..., bytes]) -> Bench:
    (tmp_path / "alerts.json").write_bytes(make_lines(1, 3))
    return Bench(tmp_path)


def test_a_report_is_made_once_when_its_time_is_over(bench: Bench):
    daily = Scheduled("All", format="json")
    bench.run(daily)
    assert bench.names() == []
    bench.clock.ms += PATIENCE_MS
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


def test_it_is_mailed_before_it_counts_as_made(bench: Bench):
    bench.clock.ms += PATIENCE_MS
    report = Scheduled("All", email_to=("me@example.com",))
    bench.refuses = True
    with pytest.raises(StoreError, match="no mail server"):
        bench.run(report)
    assert bench.names() == []
    bench.refuses = False
    bench.run(report)
    bench.run(report)
    assert bench.sent == [(("me@example.com",), f"All, {DAY}")]


def test_the_index_gives_the_alerts_where_there_is_one(tmp_path: Path, make_lines: Callable[..., bytes]):
    with closing(SearchIndex(tmp_path / "search.db", 100)) as index:
        index.add([OutboxRow(first=1, count=5, lines=make_lines(1, 5))])
    wanted = Question("All", AT_MS, AT_MS + 1)
    assert len(list(alerts_between(tmp_path / "search.db", tmp_path / "none", wanted))) == 5
    nothing = Question("All", AT_MS - 1, AT_MS)
    assert list(alerts_between(tmp_path / "search.db", tmp_path / "none", nothing)) == []


def test_a_folder_that_cannot_be_made_is_told(bench: Bench):
    (bench.folder / "reports").write_text("a file")
    bench.clock.ms += PATIENCE_MS
    with pytest.raises(StoreError, match="reports"):
        bench.run(Scheduled("All"))
