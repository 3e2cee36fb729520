"""Two sights of a path: what is told, in which words, and what is not worth a line."""

import json
import stat
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.change import Change, compare, rights
from hids.messages import FileFact

FILE = FileFact(
    path="/etc/passwd",
    seen="baseline",
    size=100,
    mode=0o644,
    user="root",
    group="root",
    mtime_ns=1_700_000_000_000_000_000,
    inode=7,
    sha256="aa",
)


def seen(fact: FileFact = FILE, **changes: Any) -> FileFact:
    return msgspec.structs.replace(fact, **({"seen": "live"} | changes))


def told(before: FileFact | None, now: FileFact) -> tuple[Change, dict[str, Any]]:
    change = compare(before, now)
    assert change is not None
    return change, json.loads(b"{%s}" % change.facts)["syscheck"]


def test_the_first_sight_of_a_folder_is_no_news():
    assert compare(None, FILE) is None


@pytest.mark.parametrize(("how", "mode"), [("scan", "scheduled"), ("live", "realtime")])
def test_a_new_file_is_told(how: str, mode: str):
    change, facts = told(None, seen(seen=how))
    assert (change.event, change.text) == ("added", "File '/etc/passwd' added")
    assert (facts["event"], facts["mode"], facts["size_after"], facts["sha256_after"]) == ("added", mode, "100", "aa")
    assert facts["mtime_after"] == "2023-11-14T22:13:20Z"
    assert not any(key.endswith("_before") for key in facts)


def test_a_changed_file_is_told_with_both_sides_of_what_changed():
    change, facts = told(FILE, seen(size=120, sha256="bb", mtime_ns=1_700_000_001_000_000_000))
    assert change.event == "modified"
    assert change.text.split("\n") == [
        "File '/etc/passwd' modified: size, mtime, sha256",
        "Size changed from '100' to '120'",
        "Old modification time was: '2023-11-14T22:13:20Z', now it is '2023-11-14T22:13:21Z'",
        "Old sha256sum was: 'aa'",
        "New sha256sum is : 'bb'",
    ]
    assert facts["changed_attributes"] == ["size", "mtime", "sha256"]
    assert {key for key in facts if key.endswith("_before")} == {"size_before", "mtime_before", "sha256_before"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mode": 0o4755}, "Permissions changed from 'rw-r--r--' to 'rwsr-xr-x'"),
        ({"uid": 5}, "Ownership was '0', now it is '5'"),
        ({"gid": 6}, "Group ownership was '0', now it is '6'"),
        ({"kind": "link", "target": "/x"}, "Type was 'file', now it is 'link'"),
        ({"target": "/evil\nlink"}, r"Link pointed to '', now to '/evil\nlink'"),
    ],
)
def test_each_attribute_has_its_words(change: dict[str, Any], line: str):
    assert line in told(FILE, seen(**change))[0].text.split("\n")


def test_what_is_gone_is_told_once_and_as_it_was_seen_to_go():
    change, facts = told(FILE, FileFact(path="/etc/passwd", seen="live", gone=True))
    assert (change.event, change.text) == ("deleted", "File '/etc/passwd' deleted")
    assert (facts["mode"], facts["sha256_after"]) == ("realtime", "aa")
    assert compare(None, FileFact(path="/etc/passwd", seen="live", gone=True)) is None


@pytest.mark.parametrize("change", [{}, {"inode": 8}, {"mtime_ns": 5}, {"inode": 8, "mtime_ns": 5}])
def test_what_editors_do_all_day_is_not_told(change: dict[str, Any]):
    assert compare(FILE, seen(**change)) is None


TEXT = st.text(max_size=20)
NUMBER = st.integers(-(2**63), 2**64 - 1)
FACTS = st.builds(
    FileFact,
    path=TEXT,
    seen=st.sampled_from(("baseline", "scan", "live")),
    gone=st.booleans(),
    kind=st.sampled_from(("file", "dir", "link", "other")),
    size=NUMBER,
    mode=NUMBER,
    uid=NUMBER,
    user=TEXT,
    mtime_ns=NUMBER,
    inode=NUMBER,
    sha256=TEXT,
    target=TEXT,
)


@given(st.none() | FACTS, FACTS)
def test_whatever_an_agent_sends_the_first_line_is_ours_and_the_facts_are_json(before: FileFact | None, now: FileFact):
    change = compare(before, now)
    if change is None:
        return
    assert isinstance(json.loads(b"{%s}" % change.facts)["syscheck"], dict)
    assert b"\n" not in change.facts
    first = change.text.split("\n")[0]
    assert first.startswith("File '")
    assert first.isprintable()


@given(st.integers(0, 0o7777))
def test_rights_are_those_of_ls(mode: int):

    assert rights(msgspec.structs.replace(FILE, mode=mode)) == stat.filemode(mode)[1:]
