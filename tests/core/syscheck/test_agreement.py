"""Directories that differ."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.agreement import differing, is_in, speaks_of
from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.messages.baseline import Baseline
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact


def fact(path: str, size: int = 1) -> FileFact:
    return FileFact(path=path, seen="scan", size=size)


def said(*facts: FileFact, after: str = "", through: str = "", top: str = "") -> DirectoryDigests:
    folders: dict[str, list[bytes]] = {}
    for each in facts:
        folders.setdefault(each.path[: each.path.rindex("/") + 1], []).append(entry_digest(each))
    digests = tuple(sorted((folder, directory_digest(each)) for folder, each in folders.items()))
    return DirectoryDigests("c", top, after, through, digests)


def known(*facts: FileFact) -> list[tuple[str, Baseline]]:
    return [(each.path, Baseline(each)) for each in facts]


FACTS = st.dictionaries(st.sampled_from(["/a/x", "/a/y", "/b/x", "/c"]), st.integers(0, 2)).map(
    lambda sizes: [fact(path, size) for path, size in sizes.items()]
)


@given(FACTS, FACTS)
def test_exactly_the_folders_that_differ_are_named(theirs: list[FileFact], ours: list[FileFact]):
    expected = sorted(
        folder
        for folder in ("/", "/a/", "/b/")
        if {(f.path, f.size) for f in theirs if f.path.rpartition("/")[0] + "/" == folder}
        != {(f.path, f.size) for f in ours if f.path.rpartition("/")[0] + "/" == folder}
    )
    assert differing(said(*theirs), known(*ours)) == expected


def test_what_was_told_counts_not_what_was_known_besides():
    told = fact("/a/x")
    kept = FileFact(path="/a/x", seen="scan", size=1, sha256="kept")
    assert differing(said(told), [("/a/x", Baseline(kept, 0, entry_digest(told)))]) == []
    assert differing(said(told), [("/a/x", Baseline(kept))]) == ["/a/"]


def test_an_answer_has_bounds():
    answer = said(after="/b/", through="/d/", top="/c")
    assert [folder for folder in ("/b/", "/c/", "/c/x/", "/d/", "/cc/") if speaks_of(answer, folder)] == [
        "/c/",
        "/c/x/",
    ]
    assert speaks_of(said(after="/b/"), "/z/")
    assert not speaks_of(said(after="/b/"), "/b/")


def test_a_listing_has_bounds():
    listing = DirectoryListing("/a/", "f", "m", ())
    assert [path for path in ("/a/f", "/a/g", "/a/m", "/a/n", "/b/g", "/a/g/x") if is_in(listing, path)] == [
        "/a/g",
        "/a/m",
    ]
