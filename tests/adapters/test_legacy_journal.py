"""The journal on a real disk: what is appended is there, whatever happens to the process."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters import legacy_journal
from hids.adapters.legacy_journal import Journal, Position
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
        patched.setattr(legacy_journal, "_write_all", write_half)
        with pytest.raises(OSError, match="No space"):
            journal.append([b"b"])
    journal.append([b"c"])
    assert records(opened(tmp_path)) == [b"head", b"a", b"c"]


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path):
    (tmp_path / "j").write_text("a file")
    with pytest.raises(StoreError):
        opened(tmp_path)
