"""What `sync` has confirmed is there after every crash, in order and chained; what is damaged is said to be."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.adapters.segments import Segments
from hids.core.wire.lines import GENESIS, link, unpack
from hids.errors import StoreError
from hids.messages import LogLine

MAX = 1 << 30
NOW_MS = 1_700_000_000_000


def opened(folder: Path, max_bytes: int = MAX, now_ms: int = NOW_MS) -> Segments:
    return Segments(folder, max_bytes, now_ms)


def lines(first: int, count: int, size: int = 10) -> list[LogLine]:
    return [
        LogLine("udp", b"%d " % number + os.urandom(size).hex().encode(), 1, 1)
        for number in range(first, first + count)
    ]


def numbers(journal: Segments, from_seq: int | None = None) -> list[int]:
    """The lines' own numbers, after looking at sequences and chain."""
    seq, chain = (journal.oldest, journal.oldest_chain)
    found: list[int] = []
    for batch in journal.batches(from_seq or seq, MAX):
        if from_seq is None:
            chain = link(chain, batch.data)
            assert (batch.epoch, batch.first_seq, batch.chain) == (journal.epoch, seq, chain)
            seq += batch.count
        found += [int(line.text.split()[0]) for line in unpack(batch.data, batch.count)]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "udp"


@pytest.fixture
def journal(folder: Path) -> Iterator[Segments]:
    journal = opened(folder)
    yield journal
    journal.close()


def test_only_what_is_durable_is_given_away(journal: Segments):
    assert (journal.epoch, journal.oldest, journal.next, journal.oldest_chain) == (NOW_MS // 1000, 1, 1, GENESIS)
    assert journal.append(lines(1, 600)) == 600
    assert (journal.next, journal.durable, numbers(journal)) == (601, 0, [])
    assert journal.sync() == 600
    assert numbers(journal) == list(range(1, 601))
    journal.append(lines(601, 5))
    assert journal.batches(601, MAX) == ()
    assert [batch.first_seq for batch in journal.batches(1, 1)] == [1]
    assert journal.batches(2, MAX) == ()


def test_it_goes_on_where_it_was(folder: Path):
    for start in (1, 11, 21):
        journal = opened(folder, now_ms=NOW_MS + (start - 1) * 10_000)
        assert numbers(journal) == list(range(1, start))
        journal.append(lines(start, 10))
        journal.close()
    journal = opened(folder)
    assert (journal.epoch, journal.next, journal.durable, journal.damaged_epoch) == (NOW_MS // 1000, 31, 30, 0)
    assert numbers(journal) == list(range(1, 31))
    journal.close()


def test_what_is_committed_goes_segment_by_segment(journal: Segments, monkeypatch: pytest.MonkeyPatch, folder: Path):
    monkeypatch.setattr("hids.adapters.segments.SEGMENT_BYTES", 20_000)
    for start in range(1, 1000, 50):
        journal.append(lines(start, 50, size=100))
        journal.sync()
    files = len(list(folder.glob("*.seg")))
    assert files > 3
    journal.trim(520)
    assert journal.oldest <= 521
    assert len(list(folder.glob("*.seg"))) < files
    assert numbers(journal) == list(range(journal.oldest, 1001))
    journal.trim(1000)
    assert (journal.oldest, journal.next, numbers(journal)) == (1001, 1001, [])
    assert len(list(folder.glob("*.seg"))) == 1
    journal.append(lines(1001, 3))
    journal.sync()
    assert numbers(journal) == [1001, 1002, 1003]
    chain = journal.oldest_chain
    journal.close()
    again = opened(folder)
    assert (again.oldest, again.oldest_chain, numbers(again)) == (1001, chain, [1001, 1002, 1003])
    again.close()


def test_a_full_journal_takes_no_more_until_something_is_committed(folder: Path):
    journal = opened(folder, max_bytes=60_000)
    made = lines(1, 2000, size=40)
    taken = journal.append(made)
    assert 0 < taken < 2000
    assert journal.append(made[taken:]) == 0
    journal.sync()
    assert numbers(journal) == list(range(1, taken + 1))
    journal.trim(taken)
    assert journal.append(made[:100]) == 100
    journal.close()


@given(cut=st.integers(1, 5000), filler=st.binary(max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_end_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int, filler: bytes):
    folder = tmp_path_factory.mktemp("torn") / "udp"
    journal = opened(folder)
    for start in range(1, 100, 10):
        journal.append(lines(start, 10))
    journal.close()
    (path,) = folder.glob("*.seg")
    data = path.read_bytes()
    path.write_bytes(data[: max(56, len(data) - cut)] + filler)
    again = opened(folder)
    whole = numbers(again)
    assert whole == list(range(1, again.next))
    assert again.damaged_epoch == 0
    again.append(lines(again.next, 5))
    again.close()
    last = opened(folder)
    assert numbers(last) == [*whole, *range(len(whole) + 1, len(whole) + 6)]
    last.close()


@pytest.mark.parametrize("place", [0, 20, 120, 800])
def test_damage_begins_a_new_epoch_and_is_told(folder: Path, place: int):
    journal = opened(folder)
    for start in range(1, 100, 10):
        journal.append(lines(start, 10))
    epoch = journal.epoch
    journal.close()
    (path,) = folder.glob("*.seg")
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    again = opened(folder)
    assert (again.damaged_epoch, again.next, numbers(again)) == (epoch, 1, [])
    assert again.epoch > epoch
    assert len(list(folder.glob("*.damaged"))) == 1
    again.append(lines(1, 1))
    again.close()
    assert opened(folder).damaged_epoch == 0


def test_damage_while_it_is_open_is_told(journal: Segments, folder: Path):
    journal.append(lines(1, 10))
    journal.sync()
    (path,) = folder.glob("*.seg")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(StoreError, match="line 1 is damaged"):
        journal.batches(1, MAX)


def test_a_segment_that_was_only_begun_holds_nothing(folder: Path):
    journal = opened(folder)
    journal.append(lines(1, 10))
    journal.close()
    (folder / f"{11:020}.seg").write_bytes(b"hids")
    again = opened(folder)
    assert (again.damaged_epoch, numbers(again)) == (0, list(range(1, 11)))
    again.close()


def test_a_full_disk_leaves_nothing_of_what_it_did_not_take(journal: Segments, monkeypatch: pytest.MonkeyPatch):
    journal.append(lines(1, 3))
    real = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr("hids.adapters.segments.os.write", half)
    with pytest.raises(StoreError, match="make room or mend the disk"):
        journal.append(lines(4, 300))
    monkeypatch.undo()
    journal.append(lines(4, 2))
    journal.sync()
    assert numbers(journal) == [1, 2, 3, 4, 5]


WRITER = """
import sys
from pathlib import Path
from hids.adapters.segments import Segments
from hids.messages import LogLine
journal = Segments(Path(sys.argv[1]), 1 << 30, 1)
while True:
    first = journal.next
    journal.append([LogLine("udp", b"%d x" % n, 1, 1) for n in range(first, first + 100)])
    print(journal.sync(), flush=True)
"""


@pytest.mark.slow
def test_what_was_confirmed_survives_kill_9(folder: Path):
    confirmed = 0
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(50 + 37 * round_):
            confirmed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        confirmed = max([confirmed, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        journal = opened(folder)
        assert (journal.next > confirmed, journal.damaged_epoch) == (True, 0)
        assert numbers(journal) == list(range(1, journal.next))
        journal.close()
