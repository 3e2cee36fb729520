"""The journal of lines that nobody sends again: what is written is there, whatever happens to the process or the file."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hids.adapters import arrivals as module
from hids.adapters.arrivals import ArrivalJournal
from hids.adapters.journal import SEGMENT_BYTES, Journal
from hids.core.wire.lines import GENESIS, link, unpack
from hids.messages.lines import LogLine

NOW_MS = 1_795_500_000_000


def lines(first: int, count: int = 10) -> list[LogLine]:
    return [LogLine("192.0.2.7", b"line %d" % number, NOW_MS, NOW_MS) for number in range(first, first + count)]


def texts(journal: ArrivalJournal, from_seq: int = 1) -> list[bytes]:
    batches = journal.batches(from_seq, 1 << 30)
    return [line.text for batch in batches for line in unpack(batch.data, batch.count)]


def opened(folder: Path, segment_bytes: int = SEGMENT_BYTES) -> ArrivalJournal:
    return ArrivalJournal(folder, NOW_MS, segment_bytes)


def spoil(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def ranges(journal: ArrivalJournal) -> list[tuple[int, int]]:
    return [(batch.first_seq, batch.first_seq + batch.count - 1) for batch in journal.batches(1, 1 << 30)]


def test_what_is_appended_is_there_after_a_crash_numbered_and_chained(tmp_path: Path):
    journal = opened(tmp_path / "j")
    journal.append(lines(1))
    journal.append(lines(11, 600))
    again = opened(tmp_path / "j")  # the first one was never closed
    assert texts(again) == [b"line %d" % number for number in range(1, 611)]
    chain, seq = GENESIS, 1
    for batch in again.batches(1, 1 << 30):
        chain = link(chain, batch.data)
        assert (batch.first_seq, batch.chain, batch.epoch) == (seq, chain, journal.epoch)
        seq += batch.count
    assert again.next == 611
    assert [batch.first_seq for batch in again.batches(11, 0)] == [11]


def test_trimming_removes_files_but_never_numbers(tmp_path: Path):
    journal = opened(tmp_path / "j", 200)
    for number in range(10):
        journal.append(lines(number * 10 + 1))
    assert len(list((tmp_path / "j").iterdir())) > 5
    journal.trim(55)
    assert journal.oldest == 51
    again = opened(tmp_path / "j")
    assert again.oldest <= 51
    assert texts(again, 51)[0] == b"line 51"
    again.trim(100)
    assert again.size == 0
    assert len(list((tmp_path / "j").iterdir())) == 1
    third = opened(tmp_path / "j")
    third.trim(100)
    assert (third.next, third.oldest, third.epoch) == (101, 101, journal.epoch)
    third.append(lines(101))
    assert texts(third, 101) == [b"line %d" % number for number in range(101, 111)]
    third.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_half_written_end_is_cut_off(tmp_path: Path, cut: int):
    journal = opened(tmp_path / "j")
    journal.append(lines(1))
    journal.append(lines(11))
    (path,) = (tmp_path / "j").iterdir()
    os.truncate(path, path.stat().st_size - cut)
    again = opened(tmp_path / "j")
    assert again.next == 11
    again.append(lines(11))
    assert texts(opened(tmp_path / "j")) == [b"line %d" % number for number in range(1, 21)]


def test_damage_costs_the_damaged_batch_and_leaves_a_gap(tmp_path: Path):
    journal = opened(tmp_path / "j")
    for number in range(4):
        journal.append(lines(number * 10 + 1))
    lost = journal.batches(11, 0)[0]
    (path,) = (tmp_path / "j").iterdir()
    spoil(path, path.stat().st_size * 2 // 5)
    again = opened(tmp_path / "j")
    assert (again.epoch, again.oldest, again.next) == (journal.epoch, 1, 41)
    assert ranges(again) == [(1, 10), (21, 30), (31, 40)]
    assert again.chain_before(21) == lost.chain
    assert [batch.first_seq for batch in again.batches(11, 0)] == [21]
    assert journal.batches(11, 0)[0].first_seq == 21, "the same, when it is found while the journal is open"


def test_a_segment_that_lost_its_beginning_costs_no_numbers(tmp_path: Path):
    journal = opened(tmp_path / "j", 1)
    for number in range(3):
        journal.append(lines(number * 10 + 1))
    first, second, _ = sorted((tmp_path / "j").iterdir())
    spoil(first, -3 % first.stat().st_size)
    second.write_bytes(bytes(second.stat().st_size))
    again = opened(tmp_path / "j")
    assert (again.epoch, again.oldest, again.next, ranges(again)) == (journal.epoch, 21, 31, [(21, 30)])


def test_a_record_of_something_else_is_passed_over(tmp_path: Path):
    journal = opened(tmp_path / "j")
    journal.append(lines(1))
    journal.close()
    Journal(tmp_path / "j", lambda: b"").append([b"something else"])
    again = opened(tmp_path / "j")
    again.append(lines(11))
    assert texts(again) == [b"line %d" % number for number in range(1, 21)]


def test_a_new_epoch_numbers_what_is_here_from_one(tmp_path: Path):
    journal = opened(tmp_path / "j")
    journal.append(lines(1))
    journal.append(lines(11))
    journal.trim(10)
    journal.new_epoch(journal.epoch + 5, NOW_MS)
    assert (journal.oldest, journal.next) == (1, 11)
    again = opened(tmp_path / "j")
    assert again.epoch == journal.epoch
    assert texts(again) == [b"line %d" % number for number in range(11, 21)]


@pytest.mark.parametrize("crash_at", ["append", "forget"])
def test_a_crash_while_numbering_anew_neither_loses_nor_doubles_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str
):
    monkeypatch.setattr(module, "COPY_BYTES", 1)
    wanted = [b"line %d" % number for number in range(1, 61)]
    left = 0
    while True:  # at the first call, the second, ... until it comes through
        folder = tmp_path / str(left)
        journal = opened(folder, 300)
        for number in range(6):
            journal.append(lines(number * 10 + 1))
        with monkeypatch.context() as patched:
            _break_after(patched, crash_at, left)
            try:
                journal.new_epoch(journal.epoch, NOW_MS)
            except OSError:
                crashed = True
            else:
                crashed = False
        again = opened(folder, 300)
        assert (texts(again), again.oldest, again.next) == (wanted, 1, 61)
        assert again.epoch > NOW_MS // 1000 or crashed
        chain = GENESIS
        for batch in again.batches(1, 1 << 30):
            chain = link(chain, batch.data)
            assert (batch.epoch, batch.chain) == (again.epoch, chain)
        if not crashed:
            assert left > 2
            return
        left += 1


def _break_after(patched: pytest.MonkeyPatch, what: str, calls: int) -> None:
    owner, name = (os, "fdatasync") if what == "append" else (Path, "unlink")
    real = getattr(owner, name)
    left = calls

    def breaks(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if left == 0:
            raise OSError(errno.EIO, "Input/output error")
        left -= 1
        return real(*arguments, **options)

    patched.setattr(owner, name, breaks)


def test_an_epoch_without_lines_is_remembered(tmp_path: Path):
    journal = opened(tmp_path / "j")
    journal.new_epoch(journal.epoch + 5, NOW_MS)
    again = opened(tmp_path / "j")
    assert (again.epoch, again.oldest, again.next) == (journal.epoch, 1, 1)


def test_a_full_disk_stores_nothing_of_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = opened(tmp_path / "j")
    journal.append(lines(1))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(lines(11))
    assert journal.next == 11
    journal.append(lines(11))
    assert texts(opened(tmp_path / "j")) == [b"line %d" % number for number in range(1, 21)]
