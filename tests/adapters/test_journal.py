"""The journal on a real disk: what is appended is there, whatever happens to the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters import journal as module
from hids.adapters.journal import Journal, Position
from hids.errors import StoreError


def opened(folder: Path, segment_bytes: int = 200) -> Journal:
    return Journal(folder / "j", lambda: b"head", segment_bytes)


def records(journal: Journal, after: Position | None = None) -> list[bytes]:
    return [record for _, record in journal.read(after or journal.start)]


def test_records_come_back_in_order_after_a_new_start(tmp_path: Path):
    journal = opened(tmp_path)
    assert records(journal) == []
    journal.append([b"a", b"b"])
    journal.append([b"c"])
    assert records(journal) == records(opened(tmp_path)) == [b"head", b"a", b"b", b"c"]


def test_each_segment_begins_with_a_head_and_old_ones_go(tmp_path: Path):
    journal = opened(tmp_path)
    for number in range(10):
        journal.append([bytes([number]) * 90])
    segments = sorted((tmp_path / "j").iterdir())
    assert len(segments) == 5
    assert [record[:1] for record in records(journal)][::3] == [b"h"] * 5
    positions = [position for position, _ in journal.read(journal.start)]
    journal.forget(positions[7])
    assert sorted((tmp_path / "j").iterdir()) == segments[2:]
    assert records(journal, positions[7])[0] == bytes([5]) * 90
    journal.forget(positions[-1])
    assert sorted((tmp_path / "j").iterdir()) == segments[-1:], "the newest stays: it has everybody's numbers"
    assert journal.size == segments[-1].stat().st_size
    assert records(journal, positions[-1]) == []


def test_a_torn_end_is_cut_off(tmp_path: Path):
    journal = opened(tmp_path)
    journal.append([b"a" * 20])
    journal.append([b"b" * 20])
    (segment,) = (tmp_path / "j").iterdir()
    whole = segment.read_bytes()
    for cut in range(len(whole) - 27, len(whole)):
        segment.write_bytes(whole[:cut])
        again = opened(tmp_path)
        assert records(again) == [b"head", b"a" * 20]
        again.append([b"c"])
        assert records(opened(tmp_path)) == [b"head", b"a" * 20, b"c"]


def test_damage_in_the_middle_ends_its_segment_only(tmp_path: Path):
    journal = opened(tmp_path, segment_bytes=100)
    for letter in (b"a", b"b", b"c"):
        journal.append([letter * 150])
    first = min((tmp_path / "j").iterdir())
    data = bytearray(first.read_bytes())
    data[30] ^= 1
    first.write_bytes(data)
    assert [record[:1] for record in records(opened(tmp_path))] == [b"h", b"h", b"b", b"h", b"c"]


def test_a_damaged_record_is_passed_over_also_in_the_newest_segment(tmp_path: Path):
    journal = opened(tmp_path, segment_bytes=1000)
    starts = journal.append([b"a" * 20, b"b" * 20, b"c" * 20])
    (segment,) = (tmp_path / "j").iterdir()
    data = bytearray(segment.read_bytes())
    data[starts[1].offset + 10] ^= 1
    segment.write_bytes(data)
    again = opened(tmp_path, segment_bytes=1000)
    again.append([b"d"])
    assert [record[:1] for record in records(again)] == [b"h", b"a", b"c", b"d"]
    assert again.size == len(data) + 9


def test_zeros_that_a_crash_left_at_the_end_are_no_records(tmp_path: Path):
    opened(tmp_path).append([b"a"])
    (segment,) = (tmp_path / "j").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole + bytes(100))
    again = opened(tmp_path)
    assert (records(again), again.size) == ([b"head", b"a"], len(whole))


def test_reading_begins_where_a_record_was_put(tmp_path: Path):
    journal = opened(tmp_path, segment_bytes=60)
    put = [(start, record) for record in (b"a" * 30, b"b" * 30, b"c" * 30) for start in journal.append([record])]
    for start, record in put:
        assert records(journal, start)[0] == record
    assert records(journal, journal.end) == []


def test_after_a_turn_all_that_was_there_can_go(tmp_path: Path):
    journal = opened(tmp_path)
    journal.append([b"a"])
    journal.turn()
    (start,) = journal.append([b"b"])
    journal.append([b"c"])
    journal.forget(start)
    assert records(journal) == records(opened(tmp_path)) == [b"head", b"b", b"c"]


@settings(max_examples=40)
@given(st.data())
def test_any_bytes_in_a_segment_are_survived(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("journal")
    (folder / "j").mkdir()
    (folder / "j" / f"{1:016}.journal").write_bytes(data.draw(st.binary(max_size=100)))
    journal = opened(folder)
    journal.append([b"x"])
    assert records(journal)[-1] == b"x"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = opened(tmp_path)
    journal.append([b"a"])

    def write_half(file: int, data: bytes) -> None:
        os.write(file, data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_write_all", write_half)
        with pytest.raises(OSError, match="No space"):
            journal.append([b"b"])
    journal.append([b"c"])
    assert records(opened(tmp_path)) == [b"head", b"a", b"c"]


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path):
    (tmp_path / "j").write_text("a file")
    with pytest.raises(StoreError):
        opened(tmp_path)


WRITER = """
import sys
from itertools import count
from pathlib import Path
from hids.adapters.journal import Journal
journal = Journal(Path(sys.argv[1]), lambda: b"head", 20_000)
first = max((int(record) for _, record in journal.read(journal.start) if record != b"head"), default=0) + 1
for group in count(first, 100):
    journal.append([b"%d" % number for number in range(group, group + 100)])
    print(group + 99, flush=True)
"""


@pytest.mark.slow
def test_what_was_confirmed_survives_kill_9(tmp_path: Path):
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(50 + 37 * round_)]
        process.send_signal(signal.SIGKILL)
        confirmed += map(int, process.stdout.read().split())
        process.wait()
        process.stdout.close()
        journal = opened(tmp_path, 20_000)
        numbers = [int(record) for record in records(journal) if record != b"head"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= confirmed[-1]
