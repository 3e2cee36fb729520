"""The journal of lines that nobody sends again: what is written is there, whatever happens to the process or the file."""

import errno
import os
from pathlib import Path

import pytest

from hids.adapters import arrivals as module
from hids.adapters.arrivals import ArrivalJournal
from hids.core.wire.lines import GENESIS, link, unpack
from hids.messages import LogLine

NOW_MS = 1_795_500_000_000


def lines(first: int, count: int = 10) -> list[LogLine]:
    return [LogLine("192.0.2.7", b"line %d" % number, NOW_MS, NOW_MS) for number in range(first, first + count)]


def texts(journal: ArrivalJournal, from_seq: int = 1) -> list[bytes]:
    batches = journal.batches(from_seq, 1 << 30)
    return [line.text for batch in batches for line in unpack(batch.data, batch.count)]


def opened(folder: Path) -> ArrivalJournal:
    return ArrivalJournal(folder, NOW_MS)


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


def test_trimming_removes_files_but_never_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SEGMENT_BYTES", 200)
    journal = opened(tmp_path / "j")
    for number in range(10):
        journal.append(lines(number * 10 + 1))
    assert len(list((tmp_path / "j").iterdir())) > 5
    journal.trim(55)
    assert journal.oldest == 51
    again = opened(tmp_path / "j")
    assert again.oldest <= 51
    assert texts(again, 51)[0] == b"line 51"
    again.trim(100)
    assert again.bytes == 0
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


def test_damage_before_the_end_is_set_aside_and_a_new_epoch_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
    journal = opened(tmp_path / "j")
    for number in range(3):
        journal.append(lines(number * 10 + 1))
    second = sorted((tmp_path / "j").iterdir())[1]
    data = bytearray(second.read_bytes())
    data[-3] ^= 1
    second.write_bytes(data)
    again = opened(tmp_path / "j")
    assert again.damaged
    assert again.epoch > journal.epoch
    assert texts(again) == [b"line %d" % number for number in range(1, 11)]
    assert len(list((tmp_path / "j").glob("*.damaged"))) == 2
    assert not opened(tmp_path / "j").damaged


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
