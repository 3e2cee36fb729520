"""Groups: what is gathered is committed as one, told after it, and numbered without gaps."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from waiting import SetClock, settle, until

from hids.actors.ledger import (
    BUSY_BATCHES,
    BUSY_WAIT_S,
    GROUP_BYTES,
    GROUP_WAIT_S,
    WINDOW_LIFE_MS,
    Due,
    Housekeeping,
    Ledger,
)
from hids.actors.stage import BURST, Exited, Mailbox
from hids.core.wire.lines import GENESIS, link, unpack
from hids.errors import StoreError
from hids.messages.lane import Applied, Committed, Progress, Settle
from hids.messages.lines import LogLine
from hids.messages.outputs import Cursors
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import DeadLetter, Group, Stretch

AGENT = Agent(AgentId("007"), "web1", "")
MANAGER = Agent(AgentId("000"), "boss", "")
SOURCE = SourceId("agent/007")
BELIEVED_MS = 1_600_000_000_000
"""What the other clock says is not believed."""


class Store:
    """Takes notes of groups; fails when told to."""

    def __init__(self) -> None:
        self.groups: list[tuple[int, Group]] = []
        self.failing = False
        self.dropped: list[tuple[int, int]] = []
        self.gone: tuple[int, int] | None = None
        self.letters: list[DeadLetter] = []
        self.wal = 0
        self.expired_ms = 0

    def commit(self, group: Group, first_alert: int) -> None:
        if self.failing:
            raise StoreError("ledger.db: cannot be written: disk full")
        self.groups.append((first_alert, group))

    def expire(self, before_ms: int) -> int:
        self.expired_ms = before_ms
        return 0

    def trim_state(self, limit: int) -> tuple[int, int] | None:
        assert limit == 5
        return self.dropped.pop(0) if self.dropped else None

    def dead_letters(self, numbers: Sequence[int]) -> list[DeadLetter]:
        return [letter for letter in self.letters if letter.number in numbers]

    def wal_bytes(self) -> int:
        return self.wal

    def trim_history(self, before_ms: int, limit: int) -> int:
        assert limit == 1000
        return 0

    def trim_outbox(self, limit_bytes: int, before_ms: int) -> tuple[int, int] | None:
        return self.gone


class Bench:
    def __init__(self) -> None:
        self.store = Store()
        self.said: list[Committed] = []
        self.saved: list[Group] = []
        self.exits: list[Exited] = []
        self.scans: list[tuple[int, list[Any]]] = []
        """(groups committed before, what came of policies)."""
        self.mailbox = Mailbox("ledger", 1000)
        self.mailbox.on_exit = self.exits.append
        Ledger.start(
            self.mailbox,
            self.store,
            "boot",
            MANAGER,
            101,
            {"derived/agent/007": (7, b"c" * 32)},
            ("alerts.json", "search.db"),
            SetClock(),
            self.said.append,
            self.saved.append,
            outbox_bytes=1000,
            stored_keys=5,
            history_days=1,
            history_rows=1000,
            believed=SetClock(BELIEVED_MS),
            record=lambda scans: self.scans.append((len(self.store.groups), list(scans))),
        )

    async def committed(self, groups: int) -> None:
        await until(lambda: len(self.said) == groups, f"{groups} groups are committed")


def applied(seq: int, *alerts: bytes, first: int = 0, **more: Any) -> Applied:
    """Lines that add up, unless a test says otherwise."""
    first = first or seq
    more = {"counts": {"evaluated": seq - first + 1}} | more
    progress = Progress(1, seq, b"%d" % seq)
    return Applied(source=SOURCE, agent=AGENT, progress=progress, first=first, alerts=alerts, **more)


def line(text: bytes) -> tuple[Any, LogLine]:
    return "agent", LogLine("hids-manager", text, 1, 1, "agent")


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_what_comes_together_is_one_group_and_the_last_word_counts():
    async def test(bench: Bench) -> None:
        key = ("rule", b"key")
        bench.mailbox.tell(applied(5, b"a\n", state={key: (b"1", 1)}, fired={"rule": 1}, counts={"evaluated": 5}))
        bench.mailbox.tell(
            applied(9, b"b\n", b"c\n", state={key: (b"2", 2)}, fired={"rule": 2}, counts={"evaluated": 4})
        )
        await bench.committed(1)
        first, group = bench.store.groups[0]
        assert (first, group.alerts, group.state, group.fired) == (
            101,
            [b"a\n", b"b\n", b"c\n"],
            {key: (b"2", 2)},
            {"rule": 2},
        )
        assert group.progress == bench.said[0].progress == {SOURCE: Progress(1, 9, b"9")}
        assert group.counts == {(SOURCE, "evaluated"): 9}
        assert bench.said[0].outbox_next == 104
        assert bench.saved == [group]
        bench.mailbox.tell(applied(10, b"d\n"))
        await bench.committed(2)
        assert [number for number, _ in bench.store.groups] == [101, 104]

    run(test)


def test_behind_many_batches_the_next_group_gathers_longer(monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    real = Ledger.later

    def noted(self: Ledger, delay_s: float, message: Any) -> asyncio.TimerHandle:
        waits.append(delay_s)
        return real(self, delay_s, message)

    monkeypatch.setattr(Ledger, "later", noted)

    async def test(bench: Bench) -> None:
        waits.clear()
        for seq in range(1, BUSY_BATCHES + 1):
            bench.mailbox.tell(applied(seq))
        await bench.committed(1)
        bench.mailbox.tell(applied(BUSY_BATCHES + 1))
        await bench.committed(2)
        bench.mailbox.tell(applied(BUSY_BATCHES + 2))
        await bench.committed(3)
        assert waits == [GROUP_WAIT_S, BUSY_WAIT_S, GROUP_WAIT_S]

    run(test)


def test_a_group_takes_what_waits_when_it_is_due():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(1))
        await settle(3)
        bench.mailbox.tell_life(1, Due())
        for seq in range(2, 2 * BURST):
            bench.mailbox.tell(applied(seq))
        await bench.committed(1)
        assert bench.said[0].progress[SOURCE].seq > BURST

    run(test)


def test_a_cursor_that_has_not_moved_keeps_no_group_open():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(1))
        await settle(3)
        bench.mailbox.tell_life(1, Due())
        bench.mailbox.tell(Cursors({"alerts.json": 0}))
        await bench.committed(1)

    run(test)


def test_what_came_of_policies_is_recorded_before_the_commit():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(1, scans=((5, b"one"), (6, b"two"))))
        bench.mailbox.tell(applied(2, scans=((7, b"three"),)))
        await bench.committed(1)
        bench.mailbox.tell(applied(3))
        await bench.committed(2)
        assert bench.scans == [(0, [(AGENT, 5, b"one"), (AGENT, 6, b"two"), (AGENT, 7, b"three")])]

    run(test)


def test_a_large_group_does_not_wait():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(1, b"x" * GROUP_BYTES))
        bench.mailbox.tell(applied(2, b"y"))
        await bench.committed(2)
        assert [len(group.alerts) for _, group in bench.store.groups] == [1, 1]

    run(test)


def test_derived_lines_go_on_where_they_ended():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(1, lines=(line(b"one"), line(b"two"))))
        await bench.committed(1)
        bench.mailbox.tell(applied(2, lines=(line(b"three"),)))
        await bench.committed(2)
        batches = [derived.batch for said in bench.said for derived in said.derived]
        assert [(batch.epoch, batch.first_seq, batch.count) for batch in batches] == [(1, 8, 2), (1, 10, 1)]
        chain = b"c" * 32
        for batch in batches:
            chain = link(chain, batch.data)
            assert batch.chain == chain
        assert [text.text for batch in batches for text in unpack(batch.data, batch.count)] == [
            b"one",
            b"two",
            b"three",
        ]
        assert [group.derived for _, group in bench.store.groups] == [list(said.derived) for said in bench.said]

    run(test)


def test_a_source_that_begins_has_a_chain_of_its_own():
    async def test(bench: Bench) -> None:
        other = Agent(AgentId("008"), "web2", "")
        bench.mailbox.tell(Applied(source=SourceId("agent/008"), agent=other, lines=(line(b"x"),), notice=3))
        await bench.committed(1)
        (derived,) = bench.said[0].derived
        assert (derived.source, derived.agent, derived.batch.first_seq) == ("derived/agent/008", other, 1)
        assert derived.batch.chain == link(GENESIS, derived.batch.data)
        assert (bench.said[0].notices, bench.store.groups[0][1].notices) == (3, ("boot", 3))

    run(test)


def test_cursors_of_our_outputs_are_committed_and_no_others():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(Cursors({"alerts.json": 5, "stranger": 9}))
        await bench.committed(1)
        assert bench.store.groups[0][1].cursors == {"alerts.json": 5, "search.db": 0}

    run(test)


def test_a_cursor_that_has_not_moved_is_no_commit():
    """Each commit is news for the outputs, which answer with their cursors: that must come to rest."""

    async def test(bench: Bench) -> None:
        for number in (5, 5, 5, 6):
            bench.mailbox.tell(Cursors({"alerts.json": number}))
            await until(lambda: bench.mailbox.depth == 0, "it is handled")
            if number == 5 and not bench.store.groups:
                await bench.committed(1)
        await bench.committed(2)
        assert [group.cursors["alerts.json"] for _, group in bench.store.groups] == [5, 6]

    run(test)


def test_a_failed_commit_says_nothing_and_ends_it():
    async def test(bench: Bench) -> None:
        bench.store.failing = True
        bench.mailbox.tell(applied(5, b"a\n"))
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure == "StoreError: ledger.db: cannot be written: disk full"
        assert (bench.said, bench.saved) == ([], [])

    run(test)


def test_the_end_commits_what_is_open():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(5, b"a\n"))
        await until(bench.mailbox.empty, "it is taken")
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None
        # On a busy machine its time may be over before the end comes; then there is an empty group, too.
        assert [alert for _, group in bench.store.groups for alert in group.alerts] == [b"a\n"]
        await settle()

    run(test)


def test_what_is_old_goes_by_the_time_that_is_believed():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell_life(1, Housekeeping())
        await until(lambda: bench.store.expired_ms, "it looks for what is old")
        assert bench.store.expired_ms == BELIEVED_MS - WINDOW_LIFE_MS
        bench.mailbox.tell(applied(1))
        await bench.committed(1)
        assert bench.store.groups[0][1].at_ms == SetClock().ms

    run(test)


def test_alerts_that_had_to_be_dropped_are_told():
    async def test(bench: Bench) -> None:
        bench.store.gone = (5, 9)
        bench.mailbox.tell_life(1, Housekeeping())
        await bench.committed(1)
        (derived,) = bench.said[0].derived
        assert derived.agent == MANAGER
        assert b"alerts dropped: 5 to 9" in unpack(derived.batch.data, 1)[0].text

    run(test)


def test_windows_that_had_to_be_dropped_are_counted_and_told_once_a_minute():
    async def test(bench: Bench) -> None:
        bench.store.dropped = [(7, 1_000), (4, 2_000)]
        bench.mailbox.tell_life(1, Housekeeping())
        await until(lambda: not bench.store.dropped, "what is left is dropped soon after")
        await until(lambda: sum(sum(group.counts.values()) for _, group in bench.store.groups) == 11, "all are counted")
        told = [line.text for said in bench.said for new in said.derived for line in unpack(new.batch.data, 1)]
        assert told == [b"windows dropped: 7, which mattered up to 1970-01-01T00:00:01Z: more than 5 keys"]

    run(test)


def told(bench: Bench) -> list[bytes]:
    """What the manager said about itself."""
    batches = [derived.batch for said in bench.said for derived in said.derived if derived.agent == MANAGER]
    return [text.text for batch in batches for text in unpack(batch.data, batch.count)]


def test_a_group_says_what_became_of_each_line():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(10, first=1, counts={"evaluated": 7, "dropped:poison": 1, "known": 2, "alerts": 5}))
        bench.mailbox.tell(applied(12, first=11, counts={"lost": 2}))
        await bench.committed(1)
        ((_, group),) = bench.store.groups
        counts = {"evaluated": 7, "dropped:poison": 1, "known": 2, "lost": 2}
        assert group.stretches == {(SOURCE, 1): Stretch(1, 12, counts)}
        assert told(bench) == []

    run(test)


def test_lines_that_do_not_add_up_are_told():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(applied(10, first=1, counts={"evaluated": 9, "alerts": 1}))
        await bench.committed(1)
        text = b"ledger does not balance: agent/007 1 to 10 of epoch 1: 10 lines, 9 accounted for"
        assert told(bench) == [text]

    run(test)


def letter(number: int, source: str = "agent/007", state: str = "kept") -> DeadLetter:
    text = b"line %d" % number
    log_line = LogLine("/var/log/x", text, 1, 2)
    return DeadLetter(number, SourceId(source), 1, number, "poison", text, 5, state, agent=AGENT, line=log_line)


def test_a_dead_letter_goes_on_its_way_again_once():
    async def test(bench: Bench) -> None:
        bench.store.letters = [letter(1), letter(2, "derived/syscheck/007"), letter(3), letter(4, state="dropped")]
        for _ in range(2):
            bench.mailbox.tell(Settle((1, 2, 4, 99), "replayed"))
        bench.mailbox.tell(Settle((3,), "dropped"))
        await bench.committed(1)
        ((_, group),) = bench.store.groups
        assert group.settled == {1: "replayed", 2: "replayed", 3: "dropped"}
        sent = {derived.source: unpack(derived.batch.data, 1)[0].text for derived in group.derived}
        assert sent == {"derived/replay/007": b"line 1", "derived/syscheck/007": b"line 2"}

    run(test)


def test_a_log_that_is_never_folded_back_is_told_once():
    async def test(bench: Bench) -> None:
        for number, size in enumerate((600, 700, 0, 600), 1):
            bench.store.wal = size * 1024**2
            bench.mailbox.tell_life(1, Housekeeping())
            await bench.committed(number)
        assert [text.split(b":")[0] for text in told(bench)] == [b"ledger log"] * 2

    run(test)
