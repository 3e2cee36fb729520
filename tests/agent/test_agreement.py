"""What syscheck remembers, told in lines that fit."""

from itertools import pairwise

import msgspec

from hids.agent.agreement import LINE_BYTES, digest_lines, listing_lines, parts
from hids.agent.filecache import FileCache, Part
from hids.agent.observe import Known
from hids.agent.spooler import RecallRange
from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.core.wire.facts import unpack
from hids.messages.lines import MAX_LINE_BYTES
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact


def cache_of(*paths: str) -> FileCache:
    """A cache over what a spool would hold."""
    positions: dict[str, bytes] = {}

    def ask(question: object) -> object:
        assert isinstance(question, RecallRange)
        keys = sorted(key for key in positions if question.first <= key < question.end)
        return [(key, positions[key]) for key in keys[: question.limit]]

    cache = FileCache(ask)
    by_directory: dict[str, dict[str, Known]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        by_directory.setdefault(directory or "/", {})[name] = Known(fact(path), 0)
    for directory, entries in by_directory.items():
        positions |= {key: value for key, value in cache.written(directory, Part(b"", entries)).items() if value}
    return cache


def fact(path: str) -> FileFact:
    return FileFact(path=path, seen="scan")


def test_digests_are_of_each_directory_in_order():
    cache = cache_of("/etc", "/a/x", "/a/!/y", "/a-b/z", "/a/b")
    (text,) = digest_lines(cache, "check", "")
    said = unpack(text)
    assert isinstance(said, DirectoryDigests)
    assert (said.check, said.top, said.after, said.through) == ("check", "", "", "")
    assert [folder for folder, _ in said.digests] == ["/", "/a-b/", "/a/", "/a/!/"]
    assert dict(said.digests)["/a/"] == directory_digest([entry_digest(fact("/a/x")), entry_digest(fact("/a/b"))])
    (text,) = digest_lines(cache, "check", "/a")
    below = unpack(text)
    assert isinstance(below, DirectoryDigests)
    assert [folder for folder, _ in below.digests] == ["/a/", "/a/!/"]


def test_nothing_known_is_an_answer_too():
    (text,) = digest_lines(cache_of(), "check", "/x")
    assert unpack(text) == DirectoryDigests("check", "/x", "", "", ())


def test_many_go_in_several_lines_that_cover_all():
    cache = cache_of(*(f"/{'d' * 200}{number:04}/x" for number in range(600)))
    told = [unpack(text) for text in digest_lines(cache, "check", "")]
    assert len(told) > 2
    assert all(len(msgspec.msgpack.encode(each)) <= MAX_LINE_BYTES for each in told)
    bounds = [(each.after, each.through) for each in told if isinstance(each, DirectoryDigests)]
    assert bounds[0][0] == bounds[-1][1] == ""
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert sum(len(each.digests) for each in told if isinstance(each, DirectoryDigests)) == 600


def test_listings_name_what_is_there():
    names = sorted(f"{'n' * 200}{number:04}" for number in range(400))
    cache = cache_of(*(f"/a/{name}" for name in names), "/a/b/c", "/z")
    told = [each for text in listing_lines(cache, "/a") if isinstance(each := unpack(text), DirectoryListing)]
    assert [each.folder for each in told[-1:]] == ["/a/b/"]
    first = [each for each in told if each.folder == "/a/"]
    assert len(first) > 1
    assert [name for each in first for name in each.names] == names
    assert [each.after for each in first] == ["", *(each.through for each in first[:-1])]


def test_one_that_is_too_long_goes_alone():
    assert list(parts(["a", "b" * LINE_BYTES, "c"])) == [(0, 1), (1, 2), (2, 3)]
    assert list(parts([])) == [(0, 0)]
