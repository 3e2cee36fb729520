"""The archive of events: each batch once, whoever sends it again; found by time, agent and text; altered, and found out."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import SetClock

from hids.adapters.event_archive import STREAM, ArchiveRetention, EventArchive, days, find, verify_archive
from hids.adapters.evidence.anchors import Anchoring, FileAnchor
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.core.retention import Limit
from hids.core.wire.lines import pack
from hids.errors import StoreError
from hids.messages.evaluation import Job
from hids.messages.lines import Batch, LogLine
from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent, AgentId, SourceId

START_MS = 1_795_518_000_000
DAY_S = 86_400
WEB = Agent(AgentId("007"), "web1", "10.0.0.1")
DB = Agent(AgentId("008"), "db1", "10.0.0.2")


class Bench:
    """An archive, and lines to put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.evidence = folder / "archives", folder / "evidence"
        self.key = EvidenceKey.open_or_create(self.evidence)
        self.clock = SetClock(START_MS)
        self.archive = self.open()

    def open(self) -> EventArchive:
        heads = Heads(self.evidence / f"{STREAM}.heads", self.key)
        return EventArchive(self.folder, heads, self.clock)

    def texts(self, **options: object) -> list[str]:
        return [line["full_log"] for line in find(self.folder, **options)]  # type: ignore[arg-type]

    def problems(self) -> list[str]:
        return list(map(str, verify_archive(self.folder, self.evidence, self.key.public).problems))


def job(first: int, *texts: str, agent: Agent = WEB, epoch: int = 1, at_ms: int = START_MS, offset_ms: int = 0) -> Job:
    lines = [LogLine("/var/log/app.log", text.encode(), at_ms + place, at_ms) for place, text in enumerate(texts)]
    batch = Batch(epoch, first, len(lines), bytes(32), pack(lines))
    return Job(SourceId(f"agent/{agent.id}"), agent, batch, at_ms, offset_ms)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.archive.close()


def test_lines_are_found_as_they_came(bench: Bench):
    assert bench.archive.add([job(1, "one", "two"), job(1, "drei", agent=DB)]) == 3
    assert bench.texts() == ["one", "two", "drei"]
    assert next(find(bench.folder)) == {
        "timestamp": "2026-11-24T11:00:00.000+0000",
        "id": "007-1-1",
        "agent": {"id": "007", "name": "web1", "ip": "10.0.0.1"},
        "full_log": "one",
        "location": "/var/log/app.log",
        "hids": {"source": "agent/007", "kind": "log"},
    }


def test_they_are_found_by_time_agent_and_text(bench: Bench):
    hour_ms = 3_600_000
    bench.archive.add([job(1 + 2 * hour, f"line {hour}", "x", at_ms=START_MS + hour * hour_ms) for hour in range(5)])
    bench.archive.add([job(1, "line of db", agent=DB, at_ms=START_MS + hour_ms, offset_ms=hour_ms)])
    assert bench.texts(since_ms=START_MS + 3 * hour_ms, pattern=re.compile(b"line")) == ["line 3", "line 4"]
    assert bench.texts(since_ms=START_MS, until_ms=START_MS) == ["line 0"]
    assert bench.texts(agent="db1") == bench.texts(agent="008") == ["line of db"]
    assert bench.texts(agent="db1", since_ms=START_MS + 2 * hour_ms) == ["line of db"]
    assert bench.texts(agent="nobody") == []


def test_what_syscheck_saw_is_shown_as_json(bench: Bench):
    fact = LogLine("syscheck", msgspec.msgpack.encode(FileFact("/etc/passwd", "scan")), START_MS, START_MS, "syscheck")
    bench.archive.add([Job(SourceId("agent/007"), WEB, Batch(1, 1, 1, bytes(32), pack([fact])), START_MS)])
    assert bench.texts() == ['{"path":"/etc/passwd","seen":"scan"}']


@pytest.mark.fault
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_each_batch_is_there_once_however_often_it_comes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """Lives end without a word, days change; all that is not known to be committed comes again, at last in a new epoch."""
    bench = Bench(tmp_path_factory.mktemp("archive"))
    jobs = [job(1 + number, f"line {number}") for number in range(8)]
    sent = 0
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, sent))
        end = data.draw(st.integers(start, len(jobs)))
        for one in jobs[start:end]:
            bench.archive.add([one])
        sent = max(sent, end)
        bench.archive.close()
        bench.clock.advance(data.draw(st.sampled_from([1, DAY_S // 2, DAY_S])))
        bench.archive = bench.open()
    bench.archive.add(jobs[sent:])
    again = [msgspec.structs.replace(one, batch=msgspec.structs.replace(one.batch, epoch=2)) for one in jobs[-2:]]
    assert bench.archive.add(again) == 0
    bench.archive.sign()
    assert bench.texts() == [f"line {number}" for number in range(8)]
    assert bench.problems() == []
    bench.archive.close()


def test_equal_lines_of_one_epoch_are_other_lines(bench: Bench):
    assert bench.archive.add([job(1, "again"), job(2, "again"), job(2, "again", agent=DB)]) == 3
    assert bench.texts() == ["again"] * 3


def test_a_batch_that_cannot_be_unpacked_is_kept_and_shown_to_nobody(bench: Bench):
    broken = Job(SourceId("agent/007"), WEB, Batch(1, 1, 5, bytes(32), b"no zstd"), START_MS)
    assert bench.archive.add([broken, job(6, "next")]) == 6
    assert bench.texts() == ["next"]
    assert bench.problems() == []


def test_a_disk_that_refuses_stores_nothing(bench: Bench, tmp_path: Path):
    bench.archive.add([job(7, "before")])
    bench.archive._days[0].db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="the archive cannot be written: attempt to write a readonly database"):
        bench.archive.add([job(1, "one")])
    bench.archive._days[0].db.execute("PRAGMA query_only = OFF")
    assert bench.archive.add([job(1, "one")]) == 1


@pytest.mark.fault
def test_a_file_that_was_only_begun_is_made_anew(bench: Bench):
    bench.archive.add([job(1, "one")])
    bench.clock.advance(DAY_S)
    _, first = days(bench.folder)[0]
    (first.parent / first.name.replace("24", "25")).touch()
    assert bench.texts() == ["one"]
    bench.archive.close()
    bench.archive = bench.open()
    bench.archive.add([job(2, "two")])
    assert (bench.texts(), bench.problems()) == (["one", "two"], [])


def three_days(bench: Bench) -> list[Path]:
    for day in range(3):
        bench.archive.add([job(1 + 2 * day, f"day {day}", at_ms=bench.clock.ms), job(2 + 2 * day, f"and {day}")])
        bench.archive.sign()
        bench.clock.advance(DAY_S)
    return [path for _, path in days(bench.folder)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "UPDATE batch SET data = zeroblob(length(data)) WHERE n = 3",
            "lines 3 to 3 of agent/007, epoch 1: this batch",
        ),
        ("UPDATE batch SET received_ms = 1 WHERE n = 4", "lines 4 to 4 of agent/007, epoch 1: this batch was altered"),
        (
            "DELETE FROM batch WHERE n = 3",
            "lines 4 to 4 of agent/007, epoch 1: this batch was altered, or the one before",
        ),
        ("DELETE FROM batch WHERE n = 4", "goes on from batch 4, but the file before it ends with 3"),
    ],
)
def test_who_alters_a_batch_is_found_out(bench: Bench, sql: str, words: str):
    second = three_days(bench)[1]
    assert bench.problems() == []
    with closing(sqlite3.connect(second)) as db, db:
        db.execute(sql)
    (problem,) = bench.problems()
    assert words in problem


def test_root_who_chains_and_signs_anew_is_found_by_an_anchor(bench: Bench, tmp_path: Path):
    three_days(bench)
    vault = tmp_path / "vault"
    Anchoring(FileAnchor(vault), bench.evidence, [], tmp_path / "cursor").run()
    assert verify_archive(bench.folder, bench.evidence, bench.key.public, None, [vault]).anchored == 3
    bench.archive.close()
    for _, path in days(bench.folder):
        path.unlink()
    (bench.evidence / "archive.heads").unlink()
    bench.archive = bench.open()
    bench.archive.add([job(number, "nothing happened") for number in range(1, 9)])
    assert bench.problems() == []
    (problem,) = verify_archive(bench.folder, bench.evidence, bench.key.public, None, [vault]).problems
    assert "it is not what was signed" in problem.what


def test_who_takes_out_the_newest_is_found_out(bench: Bench):
    last = three_days(bench)[2]
    with closing(sqlite3.connect(last)) as db, db:
        db.execute("DELETE FROM batch")
    assert ["ends with batch 4, but batch 6 was signed" in problem for problem in bench.problems()] == [True]


def test_days_go_when_their_time_is_over_but_never_the_last_two(bench: Bench):
    paths = three_days(bench)
    retention = ArchiveRetention(bench.folder, bench.clock, Limit(days=2))
    assert retention.run() == [f"records removed: {paths[0].relative_to(bench.folder)}: older than 2 days"]
    assert (bench.texts()[0], bench.problems()) == ("day 1", [])
    assert ArchiveRetention(bench.folder, bench.clock, Limit(days=1, max_bytes=1)).run() == []


def test_no_archive_is_told(tmp_path: Path):
    with pytest.raises(StoreError, match=r"there is no archive; \[archive\] enabled = true makes one"):
        list(find(tmp_path / "none"))


def test_days_are_local_and_in_order(bench: Bench):
    three_days(bench)
    first = datetime.fromtimestamp(START_MS / 1000).date()  # noqa: DTZ006 - days are local
    assert [day for day, _ in days(bench.folder)] == [first + timedelta(days=number) for number in range(3)]
