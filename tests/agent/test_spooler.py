"""The spooler's thread: grouping, a full budget, a full disk, damage, and a life that ends."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.agent import spooler as spooler_module
from hids.agent.collector import IN_FLIGHT
from hids.agent.spool import Spool
from hids.agent.spooler import AskNumbers, Fetch, OpenEpoch, Recall, Spooler
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Append, LogLine, Stored

Scene = Callable[..., None]


def append(text: str, **positions: bytes | None) -> Append:
    line = LogLine(location="x", text=text.encode(), at_ms=1, read_ms=1)
    return Append(source="test", lines=(line,), positions=positions)


class Route:
    """Counts what is confirmed to a collector."""

    def __init__(self) -> None:
        self.stored = 0

    def tell(self, message: Stored) -> None:
        self.stored += message.lines


def test_what_comes_in_a_burst_is_stored_in_order_in_few_transactions(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        route = Route()
        yard.desk.routes["test"] = route
        woken: list[int] = []
        yard.desk.link = Mailbox("link")
        yard.desk.link.wake = lambda: woken.append(yard.desk.next)
        for number in range(500):
            yard.spool.tell(append(str(number)))
        await until(lambda: route.stored == 500)
        assert yard.texts == [b"%d" % number for number in range(500)]
        assert len(woken) <= 500 // 2
        assert woken[-1] == 501

    in_yard(scene)


class Batches:
    """A yard's batches, by their number of lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def counts(self) -> list[int]:
        with closing(sqlite3.connect(self._path)) as db:
            return [count for (count,) in db.execute("SELECT count FROM batch ORDER BY first_seq")]


async def after_one(yard: Any, until: Any) -> Batches:
    """The batches, once there is one: a line after a quiet moment goes at once."""
    batches = Batches(yard.path)
    yard.spool.tell(append("after a quiet moment"))
    await until(lambda: batches.counts == [1])
    return batches


def test_without_hurry_lines_are_gathered_until_there_is(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spooler_module, "HOLD_S", 3600.0)

    async def scene(yard: Any, until: Any) -> None:
        batches = await after_one(yard, until)
        yard.desk.hurry = False
        for number in range(IN_FLIGHT - 1):
            yard.spool.tell(append(f"{number}"))
            await until(yard.spool.empty)
        await until(lambda: len(yard.desk.waiting) == IN_FLIGHT - 1)
        yard.spool.wake()  # to trim: no reason to store
        await yard.spool.request(Recall(""))
        assert batches.counts == [1]
        yard.desk.hurry = True
        yard.spool.wake()
        await until(lambda: batches.counts == [1, IN_FLIGHT - 1])

    in_yard(scene)


def test_after_a_batch_lines_are_gathered_and_after_a_quiet_moment_not(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spooler_module, "SPACING_S", 3600.0)

    async def scene(yard: Any, until: Any) -> None:
        batches = await after_one(yard, until)
        for number in range(IN_FLIGHT - 1):
            yard.spool.tell(append(f"{number}"))
            await until(yard.spool.empty)
        await yard.spool.request(Recall(""))
        assert batches.counts == [1]
        monkeypatch.setattr(spooler_module, "SPACING_S", 0.05)
        yard.spool.tell(append("another"))  # and its collector waits
        await until(lambda: batches.counts == [1, IN_FLIGHT])
        for number in range(2):
            yard.spool.tell(append(f"{number}"))
            await until(lambda number=number: sum(batches.counts) == 2 + IN_FLIGHT + number)

    in_yard(scene)


def test_what_waits_for_its_turn_when_the_hurry_ends_is_stored_all_the_same(
    in_yard: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spooler_module, "SPACING_S", 0.1)
    monkeypatch.setattr(spooler_module, "HOLD_S", 0.3)

    async def scene(yard: Any, until: Any) -> None:
        batches = await after_one(yard, until)
        yard.spool.tell(append("second"))  # its timer is set for the next turn
        await until(lambda: len(yard.desk.waiting) == 1)
        yard.desk.hurry = False  # and finds that there is none
        await until(lambda: batches.counts == [1, 1])

    in_yard(scene)


def test_lines_are_gathered_for_a_while_at_most(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spooler_module, "HOLD_S", 0.05)

    async def scene(yard: Any, until: Any) -> None:
        yard.desk.hurry = False
        for number in range(3):
            yard.spool.tell(append(f"{number}"))
            await until(lambda number=number: yard.texts[number:] == [b"%d" % number])

    in_yard(scene)


@pytest.mark.parametrize(
    "appends",
    [
        [append(f"{number}") for number in range(IN_FLIGHT)],
        [Append("test", tuple(append(f"{number}").lines[0] for number in range(MAX_BATCH_LINES)), {})],
        [append("x" * (MAX_BATCH_PACKED // 2)) for _ in range(2)],
        [Append("test", (), {"position": b"1"})],
    ],
    ids=["a collector waits", "a full batch", "many bytes", "no lines"],
)
def test_what_has_no_reason_to_wait_is_stored_without_hurry(
    in_yard: Scene, monkeypatch: pytest.MonkeyPatch, appends: list[Append]
):
    monkeypatch.setattr(spooler_module, "HOLD_S", 3600.0)

    async def scene(yard: Any, until: Any) -> None:
        route = Routed()
        yard.desk.routes["test"] = route
        yard.desk.hurry = False
        for each in appends:
            yard.spool.tell(each)
        await until(lambda: route.told == len(appends))

    in_yard(scene)


class Routed:
    """Counts what was answered."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self, message: Stored) -> None:
        self.told += 1


def test_answers_include_what_was_told_before(in_yard: Scene):
    async def scene(yard: Any, _: Any) -> None:
        yard.spool.tell(append("a", k=b"1"))
        yard.spool.tell(append("b", k=None, other=b"2"))
        assert await yard.spool.request(Recall("")) == {"other": b"2"}
        assert (await yard.spool.request(AskNumbers())).next == 3
        (batch,) = await yard.spool.request(Fetch(1, 1000))
        assert batch.count == 2
        numbers = await yard.spool.request(OpenEpoch(5_000_000_000))
        assert (numbers.epoch, numbers.next) == (5_000_000_001, 3)

    in_yard(scene)


def test_the_end_of_a_burst_is_stored_when_it_ends_in_a_question(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        route = yard.desk.routes["test"] = Route()
        for number in range(20):
            for _ in range(10):
                yard.spool.tell(append("x"))
            await yard.spool.request(Recall(""))
            await until(lambda number=number: route.stored == 10 * (number + 1))

    in_yard(scene)


def test_an_acknowledgement_of_another_epoch_trims_nothing(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        yard.spool.tell(append("a"))
        epoch = (await yard.spool.request(AskNumbers())).epoch
        yard.desk.trimmed = (epoch - 1, 1)
        yard.spool.wake()
        assert (await yard.spool.request(AskNumbers())).oldest == 1
        yard.desk.trimmed = (epoch, 1)
        yard.spool.wake()
        await until(lambda: yard.desk.lines == 0)

    in_yard(scene)


@pytest.mark.fault
def test_a_full_disk_stops_storing_and_room_starts_it_again(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spooler_module, "RETRY_S", 0.02)
    opened: list[Spool] = []
    real = Spool.__init__
    monkeypatch.setattr(
        Spool, "__init__", lambda self, db, **options: (real(self, db, **options), opened.append(self))[0]
    )

    async def scene(yard: Any, until: Any) -> None:
        route = Route()
        yard.desk.routes["test"] = route
        (spool,) = opened
        spool._db.execute("PRAGMA max_page_count = 12")  # SQLite says "database or disk is full"
        noise = "x".join(str(number * 7919) for number in range(60_000))
        yard.spool.tell(append("small"))
        await until(lambda: route.stored == 1)
        for start in range(0, 300_000, 60_000):
            yard.spool.tell(append(noise[start : start + 60_000]))
        await until(lambda: "full" in yard.desk.stopped)
        assert route.stored == 1
        assert (await yard.spool.request(AskNumbers())).next == 2, "others are still answered"
        spool._db.execute("PRAGMA max_page_count = 100000")
        await until(lambda: route.stored == 6)
        assert yard.desk.stopped == ""

    in_yard(scene)


@pytest.mark.fault
def test_the_next_life_stores_what_the_one_before_had_taken(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    real = Spool.append
    failures = [sqlite3.DatabaseError("database disk image is malformed")]

    def fails_once(self: Spool, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        real(self, *arguments)

    monkeypatch.setattr(Spool, "append", fails_once)

    async def scene(yard: Any, until: Any) -> None:
        yard.spool.tell(append("a"))
        await until(lambda: yard.failures)
        assert "malformed" in yard.failures.pop()
        yard.spool.tell(append("b"))
        Spooler.start(yard.spool, yard.path, yard.desk, SystemClock())
        await until(lambda: yard.texts == [b"a", b"b"])

    in_yard(scene)


@pytest.mark.fault
def test_damage_that_a_question_finds_ends_the_life(in_yard: Scene, monkeypatch: pytest.MonkeyPatch):
    def damaged(*_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    async def scene(yard: Any, until: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Spool, "batches", damaged)
            with pytest.raises(sqlite3.DatabaseError):
                await yard.spool.request(Fetch(1, 1000))
            await until(lambda: yard.failures)
            yard.failures.clear()
        Spooler.start(yard.spool, yard.path, yard.desk, SystemClock())
        assert await yard.spool.request(Fetch(1, 1000)) == ()

    in_yard(scene)


@pytest.mark.fault
def test_lines_lost_with_a_damaged_spool_are_said(in_yard: Scene, tmp_path: Path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "spool.db").write_bytes(b"no database " * 1000)

    async def scene(yard: Any, until: Any) -> None:
        await until(lambda: yard.texts == [b"lines lost: unknown number of epoch 0: spool damaged"])
        assert yard.lines[0].kind == "agent"

    in_yard(scene)


def test_stopping_stores_all_that_was_told(in_yard: Scene, tmp_path: Path):
    async def scene(yard: Any, _: Any) -> None:
        for number in range(300):
            yard.spool.tell(append(str(number)))

    in_yard(scene)
    spool = Spool.open(tmp_path / "state" / "spool.db", 0)
    assert spool.numbers.next == 301
    spool.close()
