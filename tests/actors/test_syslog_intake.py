"""The intake with a real journal: what is on disk is fed once, again after a restart, and never beyond the window."""

from pathlib import Path
from typing import Any

import pytest
from stand import wait_for

from hids.actors import syslog_intake as module
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Mailbox
from hids.actors.syslog_intake import SOURCE, Arrived, Backlog, ReadUpTo, SyslogIntake
from hids.adapters.arrivals import ArrivalJournal
from hids.adapters.clock import SystemClock
from hids.core.wire.lines import unpack
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, Progress, ReadThrough
from hids.messages.lines import LogLine
from hids.messages.terms import MANAGER, Agent


class Yard:
    """An intake, its register and what it emits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.register = ProgressRegister()
        self.backlog = Backlog()
        self.out: list[Any] = []
        self.mailbox = Mailbox("syslog_intake", 16)
        self.ended: list[Any] = []
        self.mailbox.on_exit = self.ended.append

    def start(self, max_bytes: int = 1 << 30) -> None:
        SyslogIntake.start(
            self.mailbox,
            lambda: ArrivalJournal(self.folder, 1_795_500_000_000),
            Agent(MANAGER, "boss", ""),
            self.register,
            self.backlog,
            SystemClock(),
            self.out.append,
            max_bytes=max_bytes,
        )

    def arrive(self, *texts: bytes) -> None:
        self.mailbox.tell(Arrived(tuple(LogLine("192.0.2.7", text, 1, 1) for text in texts)))

    def stop(self) -> None:
        self.mailbox.shut_down()
        wait_for(lambda: self.ended, "it")
        self.ended.clear()

    @property
    def texts(self) -> list[bytes]:
        jobs = [each for each in self.out if isinstance(each, Job)]
        return [line.text for job in jobs for line in unpack(job.batch.data, job.batch.count)]

    def commit(self, job: Job) -> None:
        batch = job.batch
        self.register.update({SOURCE: Progress(batch.epoch, batch.first_seq + batch.count - 1, batch.chain)})


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "j")


def test_nothing_is_fed_before_it_is_known_what_is_committed(yard: Yard):
    yard.start()
    yard.arrive(b"a", b"b")
    wait_for(lambda: yard.mailbox.depth == 0 and any(yard.folder.iterdir()), "it")
    assert yard.out == []
    yard.register.update({})
    wait_for(lambda: yard.texts == [b"a", b"b"], "it")
    yard.stop()


def test_a_restart_feeds_what_is_not_committed(yard: Yard):
    yard.register.update({})
    yard.start()
    for text in (b"a", b"b", b"c"):
        yard.arrive(text)
    wait_for(lambda: yard.texts == [b"a", b"b", b"c"], "it")
    yard.commit(yard.out[0])
    yard.stop()
    done = len(unpack(yard.out[0].batch.data, yard.out[0].batch.count))
    yard.out.clear()
    yard.start()
    wait_for(lambda: yard.texts == [b"a", b"b", b"c"][done:], "it")
    yard.stop()


def test_no_more_than_a_window_is_under_way(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "WINDOW_BYTES", 1)
    yard.register.update({})
    yard.start()
    wanted = [b"%d" % number for number in range(5)]
    for text in wanted:
        yard.arrive(text)
        wait_for(lambda: yard.mailbox.depth == 0, "it")
    seen = 0
    while yard.texts != wanted:
        wait_for(lambda seen=seen: len(yard.out) > seen, "it")  # type: ignore[misc]
        seen = len(yard.out)
        yard.commit(yard.out[-1])
    yard.stop()


def test_a_full_journal_makes_the_listener_wait(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    yard.register.update({})
    yard.start(max_bytes=1)
    yard.arrive(b"a")
    wait_for(lambda: yard.texts == [b"a"], "it")
    yard.arrive(b"b")
    wait_for(lambda: yard.backlog.lines == 1, "it")
    yard.commit(yard.out[0])
    wait_for(lambda: yard.texts == [b"a", b"b"], "it")
    wait_for(lambda: yard.backlog.lines == 0, "it")
    yard.stop()


def test_what_is_gone_from_the_journal_is_a_hole(yard: Yard):
    yard.register.update({})
    yard.start()
    yard.arrive(b"a")
    wait_for(lambda: yard.texts == [b"a"], "it")
    yard.commit(yard.out[0])
    wait_for(yard.mailbox.empty, "it")
    yard.arrive(b"b")
    wait_for(lambda: yard.texts == [b"a", b"b"], "it")
    yard.stop()
    # The manager comes back from a backup that knows neither, and the journal no longer has the first file.
    epoch = yard.out[0].batch.epoch
    journal = ArrivalJournal(yard.folder, 1)
    journal.trim(1)
    yard.register, yard.out = ProgressRegister(), []

    def kept() -> ArrivalJournal:
        return journal

    SyslogIntake.start(
        yard.mailbox, kept, Agent(MANAGER, "boss", ""), yard.register, yard.backlog, SystemClock(), yard.out.append,
        max_bytes=1 << 30,
    )  # fmt: skip
    yard.register.update({})
    wait_for(lambda: yard.out, "it")
    (hole,) = yard.out
    assert isinstance(hole, Hole)
    assert (hole.first, hole.last, hole.epoch) == (1, 1, epoch)
    yard.register.update({SOURCE: Progress(epoch, hole.last, hole.chain)})
    wait_for(lambda: yard.texts == [b"b"], "it")
    yard.stop()


def test_what_a_damaged_disk_lost_is_a_hole_and_the_rest_goes_on(yard: Yard):
    journal = ArrivalJournal(yard.folder, 1_795_500_000_000)
    for text in (b"a", b"b", b"c"):
        journal.append((LogLine("192.0.2.7", text, 1, 1),))
    first, lost, last = journal.batches(1, 1 << 20)
    journal.close()
    (path,) = yard.folder.iterdir()
    data = path.read_bytes()
    assert data.count(lost.data) == 1
    path.write_bytes(data.replace(lost.data, bytes(len(lost.data))))
    yard.register.update({})
    yard.start()
    wait_for(lambda: len(yard.out) == 3, "it")
    before, hole, behind = yard.out
    assert (before.batch, behind.batch) == (first, last)
    assert isinstance(hole, Hole)
    assert (hole.epoch, hole.first, hole.last, hole.chain) == (lost.epoch, 2, 2, lost.chain)
    yard.stop()


def test_a_journal_that_lost_what_is_committed_begins_a_new_epoch(yard: Yard):
    yard.register.update({SOURCE: Progress(1_795_500_000, 7, bytes(32))})
    yard.start()
    yard.arrive(b"a")
    wait_for(lambda: yard.texts == [b"a"], "it")
    assert yard.out[0].batch.epoch > 1_795_500_000
    assert yard.out[0].batch.first_seq == 1
    yard.stop()


def test_what_has_been_read_is_said_behind_the_lines(yard: Yard):
    yard.register.update({})
    yard.start()
    yard.arrive(b"a")
    yard.mailbox.tell(ReadUpTo(7))
    wait_for(lambda: len(yard.out) == 2, "it")
    job, said = yard.out
    assert said == ReadThrough(SOURCE, Agent(MANAGER, "boss", ""), job.batch.epoch, 1, 7)
    yard.stop()
