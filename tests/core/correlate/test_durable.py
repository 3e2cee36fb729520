"""State in a real ledger: a lane that is killed at any moment neither loses nor doubles a change of it.

Events come in batches. A batch is decided, then its state is committed with it, or the lane dies before: then the
next lane, which knows only what the ledger has, gets the batch again.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters.ledger import Ledger
from hids.core.correlate.accumulate import Accumulator
from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import Correlator, Decision
from hids.core.correlate.repeats import Repeats, log_digest
from hids.core.correlate.windows import Windows
from hids.messages.evaluation import DIFF, FINAL, FTS, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec
from hids.messages.terms import Correlation
from hids.ports import Group

BASE, FIRST, CHANGED, COMPOSITE = range(4)
SLOTS = ("fts", "fts_ids", "hostname", "log", "srcip")
ASK: Residual = (
    (FTS, FIRST, 1, 2),
    (FINAL, FIRST, BASE, 0),
    (DIFF, CHANGED, 3, 4),
    (FINAL, CHANGED, BASE, 0),
    (WINDOW, COMPOSITE, 5, 6),
    (FINAL, COMPOSITE, BASE, 0),
    (FINAL, BASE, -1, 0),
)


def row(rule: int, **members: object) -> RuleRow:
    return RuleRow(id=rule, level=5 + rule, identity=f"rule {rule}", head=b"", end=b"", **members)  # type: ignore[arg-type]


def table(correlation: Correlation) -> RuleTable:
    window = WindowSpec(2, 60_000, (SLOTS.index("srcip"),))
    rules = (
        row(BASE, feeds=(COMPOSITE,), sid_list=(COMPOSITE,)),
        row(FIRST, ignore_fields=(SLOTS.index("srcip"),), check_ignored=(SLOTS.index("srcip"),)),
        row(CHANGED, ignore_ms=20_000),
        row(COMPOSITE, window=window, ignore_ms=10_000),
    )
    return RuleTable("h", "test", SLOTS, rules, "ossec", correlation)


class Event(NamedTuple):
    after_s: int
    key: str
    host: str
    log: str
    srcip: str


Answer = tuple[Decision, frozenset[int], dict[str, bytes]]


class Lane:
    """What the lane's process holds in memory, over an open ledger."""

    def __init__(self, path: Path, correlation: Correlation) -> None:
        self.ledger = Ledger(path)
        self.table = table(correlation)
        self.windows = Windows(self.ledger.window, 2_000)
        self.cells = Cells(self.ledger.window, 2_000)
        self.correlator = Correlator(self.windows, self.cells)
        self.repeats = Repeats(self.cells)
        self.accumulator = Accumulator(self.cells)

    def see(self, event: Event, at_s: int) -> Answer:
        at_ms = 1_000_000_000 + at_s * 1000
        values = (event.key.encode(), b"1", event.host.encode(), event.log.encode(), event.srcip.encode())
        out = EventOut(0, at_ms, 0, 0, values, b"", event.log.encode())
        return (
            self.correlator.decide(self.table, ASK, out, "001", at_ms),
            self.repeats.offsets("test", log_digest(event.log.encode()), at_ms),
            self.accumulator.lend("test", event.host.encode(), {event.key: event.srcip.encode()}, at_ms),
        )

    def commit(self) -> None:
        state = self.windows.take_touched(0.0) | self.cells.take_touched()
        self.ledger.commit(Group(state=state), 1)
        self.windows.committed(state)
        self.cells.committed(state)


BATCHES = st.lists(
    st.lists(
        st.builds(
            Event,
            st.sampled_from((0, 1, 5, 30)),
            st.sampled_from(("a very long common key 1", "a very long common key 2", "other")),
            st.sampled_from(("h1", "h2")),
            st.sampled_from(("x", "x", "y")),
            st.sampled_from(("1", "2")),
        ),
        min_size=1,
        max_size=6,
    ),
    min_size=3,
    max_size=8,
)


@pytest.mark.parametrize("correlation", ["native", "compat"])
@settings(max_examples=20)
@given(BATCHES, st.lists(st.sampled_from(("commit", "commit", "die after", "die before")), min_size=20, max_size=20))
def test_killed_at_any_moment(correlation: Correlation, batches: list[list[Event]], fates: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        through = Lane(Path(folder) / "through.db", correlation)
        path = Path(folder) / "killed.db"
        lane = Lane(path, correlation)
        at_s = 0
        remaining = iter(fates)
        for batch in batches:
            times: list[int] = []
            for event in batch:
                at_s += event.after_s
                times.append(at_s)
            expected = [through.see(event, at) for event, at in zip(batch, times, strict=True)]
            through.commit()
            answers = [lane.see(event, at) for event, at in zip(batch, times, strict=True)]
            fate = next(remaining)
            if fate == "die before":
                lane.ledger.close()
                lane = Lane(path, correlation)
                answers = [lane.see(event, at) for event, at in zip(batch, times, strict=True)]
            lane.commit()
            if fate == "die after":
                lane.ledger.close()
                lane = Lane(path, correlation)
            assert answers == expected
        through.ledger.close()
        lane.ledger.close()
