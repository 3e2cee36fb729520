"""The journal's export format."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.core.wire.export import WANTED, ExportReader
from hids.errors import RemoteProtocolError


def binary(name: bytes, value: bytes) -> bytes:
    return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"


def written(entry: dict[bytes, bytes], *, as_binary: bool) -> bytes:
    fields = [
        binary(name, value) if as_binary or b"\n" in value else name + b"=" + value + b"\n"
        for name, value in entry.items()
    ]
    return b"".join(fields) + b"\n"


names = st.sampled_from(sorted(WANTED))
entries = st.lists(st.dictionaries(names, st.binary(max_size=40), min_size=1), max_size=6)


@settings(deadline=None)
@given(entries=entries, as_binary=st.booleans(), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_entries_come_back_however_the_bytes_arrive(
    entries: list[dict[bytes, bytes]], *, as_binary: bool, cuts: list[int]
):
    data = b"".join(written(entry, as_binary=as_binary) for entry in entries)
    reader = ExportReader()
    found, turn = [], 0
    while data:
        size = cuts[turn % len(cuts)]
        found += reader.feed(data[:size])
        data, turn = data[size:], turn + 1
    assert found == entries


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_is_refused_or_ignored_but_never_breaks_it(parts: list[bytes]):
    reader = ExportReader(limit=1000)
    try:
        for part in parts:
            for entry in reader.feed(part):
                assert entry.keys() <= WANTED
    except RemoteProtocolError:
        pass


def test_other_fields_are_skipped():
    assert ExportReader().feed(b"PRIORITY=6\nMESSAGE=hi\n\n") == [{b"MESSAGE": b"hi"}]


def test_a_value_over_the_limit_is_left_out_and_the_rest_is_read():
    big = binary(b"COREDUMP", b"x" * 5000)
    data = big + b"MESSAGE=a\n\nMESSAGE=b\n\n"
    for size in (1, 7, 100, 100_000):
        reader = ExportReader(limit=1000)
        found = [entry for start in range(0, len(data), size) for entry in reader.feed(data[start : start + size])]
        assert found == [{b"MESSAGE": b"a"}, {b"MESSAGE": b"b"}]


def test_a_line_without_an_end_is_refused_before_it_fills_memory():
    reader = ExportReader(limit=1000)
    for _ in range(10):
        assert reader.feed(b"x" * 100) == []
    with pytest.raises(RemoteProtocolError, match="without an end"):
        reader.feed(b"x" * 100)


def test_a_length_that_lies_is_refused():
    with pytest.raises(RemoteProtocolError, match="where its length says"):
        ExportReader().feed(b"MESSAGE\n" + struct.pack("<Q", 3) + b"abcd\n\n")
