"""A sealed alert file with a clock of its own, and what is needed to check it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from waiting import SetClock

from hids.adapters.archive import lines_of
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.seals import Seals
from hids.adapters.evidence.streams import records_of
from hids.adapters.evidence.verify import Verdict, verify
from hids.adapters.outbox import OutboxRow, alert_number
from hids.adapters.outputs.file import JSON_LINES, AlertFile, Keeping, text_blocks

DAY = timedelta(days=1)


class Bench:
    """An alert file with a clock of its own, and what is needed to check it."""

    def __init__(self, folder: Path, make_lines: Callable[..., bytes], name: str = "alerts.json") -> None:
        self.make_lines = make_lines
        self.alerts, self.evidence = folder / "alerts", folder / "evidence"
        self.alerts.mkdir()
        self.key = EvidenceKey.open_or_create(self.evidence)
        self.clock = SetClock(int(datetime.now(UTC).timestamp() * 1000))
        self.path = self.alerts / name
        self.form = JSON_LINES if name.endswith("json") else text_blocks()
        self.max_bytes = 0

    def open(self) -> AlertFile:
        heads = Heads(self.evidence / f"{self.path.name}.heads", self.key)
        seals = Seals(self.path, records_of(self.path.name), heads, self.clock, head_every_s=600.0)
        return AlertFile(self.path, self.form, 100_000, self.clock, Keeping(seals, self.max_bytes))

    def row(self, first: int, count: int = 1) -> OutboxRow:
        return OutboxRow(first=first, count=count, lines=self.make_lines(first, count))

    def verify(self, **options: Any) -> Verdict:
        return verify(self.evidence, [self.path], self.key.public, processes=1, **options)

    def numbers(self) -> list[int | None]:
        return [alert_number(line) for line in lines_of(self.path)]

    def next_day(self) -> None:
        self.clock.advance(DAY.total_seconds())


def put_away(bench: Bench, days: int, each: int = 4) -> None:
    """Alerts of some days; the last day's are in the file that is written to."""
    for day in range(days):
        if day:
            bench.next_day()
        file = bench.open()
        first = day * each + 1
        file.append([bench.row(first, each // 2)])
        file.save()
        file.append([bench.row(first + each // 2, each - each // 2)])
        file.close()
        at_s = bench.clock.ms / 1000
        os.utime(bench.path, (at_s, at_s))  # the file's time says which day it is of
