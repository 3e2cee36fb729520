"""One file: cutting it into lines, and knowing it again."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.agent.tailed import CHUNK_BYTES, Position, TailedFile
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES

NOW_MS = 1_795_500_000_000


def tailed(path: Path) -> TailedFile:
    return TailedFile(os.open(path, os.O_RDONLY), str(path), str(path))


def read_all(file: TailedFile, *, final: bool = False) -> list[bytes]:
    lines: list[bytes] = []
    while True:
        before = file.offset
        for part in file.parts(NOW_MS, 0.0, final=final):
            assert len(part.lines) <= MAX_BATCH_LINES
            lines += [line.text for line in part.lines]
        if file.offset == before:
            return lines


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b"\0\0", b"x" * 70_000, b"y\n" * 700])),
    cut=st.integers(0, 40),
)
def test_lines_are_those_of_the_bytes_wherever_an_earlier_life_stopped(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cut: int
):
    path = tmp_path_factory.mktemp("f") / "x.log"
    content = b"".join(pieces)
    path.write_bytes(b"".join(pieces[:cut]))
    file = tailed(path)
    lines = read_all(file)
    position = msgspec.msgpack.decode(msgspec.msgpack.encode(file.position), type=Position)
    file.close()

    path.write_bytes(content)
    file = tailed(path)
    assert file.fits(position)
    file.go_to(position)
    lines += read_all(file, final=True)
    file.close()
    wanted = [line[:MAX_LINE_BYTES].rstrip(b"\r").strip(b"\0") for line in content.split(b"\n")]
    assert [line for line in lines if len(line) < MAX_LINE_BYTES - 1] == [
        line for line in wanted if line and len(line) < MAX_LINE_BYTES - 1
    ]
    assert sum(len(line) >= MAX_LINE_BYTES - 1 for line in lines) == sum(
        len(line) >= MAX_LINE_BYTES - 1 for line in wanted
    )


def test_a_line_that_is_too_long_is_cut_and_its_rest_is_left_out(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"a\n" + b"b" * (3 * CHUNK_BYTES) + b"\nc\n")
    file = tailed(path)
    assert read_all(file) == [b"a", b"b" * MAX_LINE_BYTES, b"c"]
    file.close()


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"one\ntw")
    file = tailed(path)
    assert read_all(file) == [b"one"]
    with path.open("ab") as more:
        more.write(b"o\nthree")
    assert read_all(file) == [b"two"]
    assert read_all(file, final=True) == [b"three"]
    file.close()


def test_the_end_is_the_last_line_end(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"old\nhalf a li")
    file = tailed(path)
    file.go_to_end()
    with path.open("ab") as more:
        more.write(b"ne\n")
    assert read_all(file) == [b"half a line"]
    file.close()


def test_another_file_with_the_same_inode_does_not_fit(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"first content\n")
    file = tailed(path)
    read_all(file)
    path.write_bytes(b"other content, longer than before\n")
    assert not file.fits(file.position)
    assert file.was_replaced()
    assert read_all(file) == [b"other content, longer than before"]
    file.close()


def test_a_shorter_file_was_emptied(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"same\nsame\n")
    file = tailed(path)
    read_all(file)
    path.write_bytes(b"same\n")
    assert file.was_replaced()
    assert read_all(file) == [b"same"]
    assert not file.was_replaced()
    file.close()


def test_backlog_takes_its_header_time_and_live_lines_the_read_time(tmp_path: Path):
    path = tmp_path / "x.log"
    path.write_bytes(b"2026-11-01T00:00:00Z a\n")
    file = tailed(path)
    (part,) = file.parts(NOW_MS, 0.0, final=False)
    assert part.lines[0].at_ms == 1_793_491_200_000
    file.behind_since = 100.0
    with path.open("ab") as more:
        more.write(b"2026-11-01T00:00:01Z b\n")
    (part,) = file.parts(NOW_MS, 104.0, final=False)
    assert part.lines[0].at_ms == NOW_MS
    with path.open("ab") as more:
        more.write(b"2026-11-01T00:00:02Z c\n")
    (part,) = file.parts(NOW_MS, 105.1, final=False)
    assert part.lines[0].at_ms == 1_793_491_202_000
    file.close()
