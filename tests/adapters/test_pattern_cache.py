import os
from pathlib import Path

import pytest

from hids.adapters.pattern_cache import MAX_FILES, PatternCache, environment
from hids.core.rules.scan import build

pytest.importorskip("hyperscan")

EXPRESSIONS = (b"abc", b"(?i)d+e\\z", b"(?=bad)look", b"")


def only_file(folder: Path) -> Path:
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_a_stored_set_answers_as_the_compiled_one(tmp_path: Path):
    first = build(EXPRESSIONS, "hyperscan", PatternCache(tmp_path))
    again = build(EXPRESSIONS, "hyperscan", PatternCache(tmp_path))
    assert only_file(tmp_path).parent.name == environment()
    assert first.ids == again.ids == {0: 0, 1: 1, 3: 3}
    for text in (b"", b"xabcx", b"DDE", b"de ", b"look"):
        assert sorted(first.scan(text)) == sorted(again.scan(text))


def test_it_is_read_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = PatternCache(tmp_path)
    build(EXPRESSIONS, "hyperscan", cache)

    def compiled(*_: object) -> None:
        raise AssertionError("compiled though it is in the cache")

    monkeypatch.setattr("hids.core.rules.scan._compiled", compiled)
    assert build(EXPRESSIONS, "hyperscan", cache).scan(b"abc")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda _data: b"",
        lambda data: data + b"x",
    ],
)
def test_a_damaged_file_is_compiled_anew_and_replaced(tmp_path: Path, damage):  # type: ignore[no-untyped-def]
    build(EXPRESSIONS, "hyperscan", PatternCache(tmp_path))
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert build(EXPRESSIONS, "hyperscan", PatternCache(tmp_path)).scan(b"abc")
    assert path.read_bytes() == whole


def test_whole_bytes_that_are_no_set_are_not_used(tmp_path: Path):
    cache = PatternCache(tmp_path)
    build(EXPRESSIONS, "hyperscan", cache)
    path = only_file(tmp_path)
    for data in (b"", b"no msgpack", b"\x92\x90\xc4\x03abc", b"\x92\x91\xcd\x10\x00\xc4\x03abc"):
        cache.store(path.name, data)
        assert build(EXPRESSIONS, "hyperscan", cache).scan(b"abc")


def test_a_disk_that_takes_nothing_costs_only_the_cache(tmp_path: Path):
    (tmp_path / "file").write_text("in the way of a folder")
    assert build(EXPRESSIONS, "hyperscan", PatternCache(tmp_path / "file")).scan(b"abc")


def test_the_sets_used_longest_ago_go_first(tmp_path: Path):
    cache = PatternCache(tmp_path)
    for number in range(MAX_FILES):
        cache.store(f"{number:03d}", b"x")
        os.utime(tmp_path / environment() / f"{number:03d}", (number, number))
    assert cache.load("000") == b"x"  # used just now
    cache.store("new", b"x")
    assert cache.load("001") is None
    assert cache.load("000") == b"x"
    assert cache.load("new") == b"x"
