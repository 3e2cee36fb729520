"""What syscheck has seen: parts of directories as positions, in bounded pieces."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.agent.filecache import (
    HIGHEST,
    LOWEST,
    PART_ENTRIES,
    SPLIT_ABOVE,
    FileCache,
    Part,
    Summary,
    name_hash,
    summarised,
)
from hids.agent.observe import Known
from hids.agent.spool import Spool
from hids.agent.spooler import RecallKeys, RecallLast, RecallRange
from hids.messages.syscheck import FileFact


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool.open(tmp_path / "spool.db", 0)) as opened:
        yield opened


def cache_of(spool: Spool) -> FileCache:
    def ask(question: object) -> Any:
        match question:
            case RecallKeys(keys):
                return spool.positions_of(keys)
            case RecallRange(first, end, limit):
                return spool.positions_from(first, end, limit)
            case RecallLast(prefix, key):
                return spool.last_position(prefix, key)
            case _:
                raise TypeError(question)

    return FileCache(ask)


def known(name: str) -> Known:
    return Known(FileFact(path=f"/d/{name}", seen="scan", size=len(name)), 7)


def entries(count: int) -> dict[str, Known]:
    return {f"file{number}": known(f"file{number}") for number in range(count)}


def test_an_unknown_directory_has_nothing(spool: Spool):
    cache = cache_of(spool)
    assert cache.summaries(["/d"]) == {}
    part, end = cache.part_of("/d", "a")
    assert (part.entries, part.low, end) == ({}, LOWEST, HIGHEST)
    assert list(cache.parts("/d")) == []


def test_what_is_written_is_found_and_an_empty_part_is_forgotten(spool: Spool):
    cache = cache_of(spool)
    spool.append((), cache.written("/d", Part(b"s", entries(3))) | summarised("/d", Summary(3, b"f")))
    assert cache.summaries(["/d", "/e"]) == {"/d": Summary(3, b"f")}
    assert cache.part_of("/d", "file1")[0].entries["file1"] == known("file1")
    (part,) = cache.parts("/d")
    assert (part.stamp, set(part.entries)) == (b"s", set(entries(3)))
    spool.append((), cache.written("/d", Part(b"s", {})) | summarised("/d", None))
    assert list(cache.parts("/d")) == []
    assert cache.summaries(["/d"]) == {}


def test_a_part_that_grew_is_split_and_all_is_found(spool: Spool):
    cache = cache_of(spool)
    many = entries(SPLIT_ABOVE + 100)
    spool.append((), cache.written("/d", Part(b"s", many)))
    parts = list(cache.parts("/d"))
    assert len(parts) == 3
    assert max(len(part.entries) for part in parts) <= PART_ENTRIES
    assert {name for part in parts for name in part.entries} == set(many)
    for name in ("file0", "file17", "file600"):
        part, end = cache.part_of("/d", name)
        assert name in part.entries
        assert part.low <= name_hash(name) < end


def test_a_part_can_be_made_to_end_at_a_hash(spool: Spool):
    cache = cache_of(spool)
    spool.append((), cache.written("/d", Part(b"s", entries(200))))
    positions = cache.split("/d", "80000000")
    spool.append((), positions)
    low, high = cache.parts("/d")
    assert (low.low, high.low) == (LOWEST, "80000000")
    assert all(name_hash(name) < "80000000" for name in low.entries)
    assert set(low.entries) | set(high.entries) == set(entries(200))
    assert cache.split("/d", "80000000") == {}
    assert [part.low for part in cache.parts("/d", "80000000")] == ["80000000"]


def test_what_is_below_is_told_apart_from_what_is_beside(spool: Spool):
    cache = cache_of(spool)
    for directory in ("/d", "/d/e", "/d/e/f", "/de", "/"):
        spool.append((), cache.written(directory, Part(b"s", entries(1))))
    assert [directory for directory, _ in cache.below("/d")] == ["/d", "/d/e", "/d/e/f"]
    assert set(cache.directories("/")) == {"/", "/d", "/d/e", "/d/e/f", "/de"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), max_size=40))
def test_any_names(spool: Spool, names: set[str]):
    cache = cache_of(spool)
    spool.append((), {key: None for key, _ in spool.positions_from("", "\U0010ffff", 10_000)})
    spool.append((), cache.written("/d", Part(b"s", {name: known(name) for name in names})))
    assert {name for part in cache.parts("/d") for name in part.entries} == names
