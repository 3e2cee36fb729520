"""The kernel's events, whole and broken. What the real kernel tells is in test_whodata.py."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.agent.fanotify import MODIFY, Event, Fanotify, FanotifyError, handle_of, parse


def packed(pid: int = 7, handle: bytes = b"handle!!", name: bytes = b"name", pidfd: int = 5, version: int = 3) -> bytes:
    named = struct.pack("=iiIi", -1, 2, len(handle), 129) + handle + name + b"\0"
    named += bytes(-(len(named) + 4) % 4)
    records = struct.pack("=BBH", 2, 0, 4 + len(named)) + named + struct.pack("=BBHi", 4, 0, 8, pidfd)
    return struct.pack("=IBBHQii", 24 + len(records), version, 0, 24, MODIFY, -1, pid) + records


def test_an_event_has_its_parts():
    directory = (2 << 32 | 0xFFFF_FFFF, 129, b"handle!!")
    assert list(parse(packed() * 2)) == [Event(MODIFY, 7, 5, directory, b"name")] * 2


@pytest.mark.parametrize("data", [packed()[:20], packed()[:-1], packed(version=2), bytes(24), packed()[:4] + bytes(60)])
def test_another_form_is_refused(data: bytes):
    with pytest.raises(FanotifyError):
        list(parse(data))


def test_a_handle_longer_than_its_record_is_refused():
    data = bytearray(packed())
    struct.pack_into("=I", data, 24 + 4 + 8, 4_000_000)
    with pytest.raises(FanotifyError, match="longer than its record"):
        list(parse(bytes(data)))


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_anything_ends_in_events_or_a_refusal(noise: bytes, tail: bytes):
    for data in (noise, packed() + noise, packed()[:24] + noise + tail):
        with contextlib.suppress(FanotifyError):
            list(parse(data))


def test_a_directory_is_found_by_its_handle(tmp_path: Path):
    try:
        fanotify = Fanotify()
        fanotify.mark_filesystem(str(tmp_path))
    except FanotifyError as error:
        pytest.skip(str(error))
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    handle = handle_of(str(folder))
    assert handle is not None
    assert fanotify.path_of(handle) == str(folder)
    folder.rename(tmp_path / "c")
    assert fanotify.path_of(handle) == str(tmp_path / "c")
    (tmp_path / "c").rmdir()
    assert fanotify.path_of(handle) is None
    assert fanotify.path_of((1, 1, b"none")) is None
    assert handle_of(str(folder)) is None
    before = len(list(Path("/proc/self/fd").iterdir()))
    fanotify.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 2
