"""Two sights of a path: what is told, in which words, and what is not worth a line."""

import json
import stat
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.change import Change, compare, remembered, rights
from hids.messages.syscheck import FileFact, Who

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


def test_a_move_is_told_as_one():
    origin = seen(path="/etc/old", acl="user::rw-")
    now = seen(path="/etc/new", moved_from="/etc/old", acl="user::rw-", inode=7)
    change = compare(None, now, origin)
    assert change is not None
    assert (change.event, change.text) == ("moved", "File '/etc/new' moved\nMoved from '/etc/old'")
    facts = json.loads(b"{%s}" % change.facts)["syscheck"]
    assert (facts["event"], facts["path"], facts["moved_from"]) == ("moved", "/etc/new", "/etc/old")


def test_a_move_with_a_change_and_one_onto_another_file():
    now = seen(path="/etc/new", moved_from="/etc/old", mode=0o4755)
    change = compare(None, now, seen(path="/etc/old"))
    assert change is not None
    assert change.text.split("\n")[:2] == ["File '/etc/new' moved: permissions", "Moved from '/etc/old'"]
    change = compare(seen(path="/etc/new", sha256="bb"), now, seen(path="/etc/old"))
    assert change is not None
    assert change.event == "modified"
    assert "Moved from '/etc/old'" in change.text


def test_what_is_carried_along_in_a_moved_directory_is_quiet_unless_it_differs():
    now = seen(path="/b/f", moved_from="/a/f", seen="baseline")
    assert compare(None, now, seen(path="/a/f")) is None
    change = compare(None, msgspec.structs.replace(now, sha256="cc"), seen(path="/a/f"))
    assert change is not None
    assert change.event == "moved"


def test_a_log_that_grew_is_recorded_only():
    before = seen(size=10, sha256="aa")
    assert compare(before, seen(size=20, sha256="bb", mtime_ns=5, grown=True)) is None
    change = compare(before, seen(size=20, sha256="bb", grown=True, mode=0o777))
    assert change is not None


def test_what_is_left_out_from_now_on_is_forgotten_without_a_word():
    assert compare(seen(), seen(seen="baseline", gone=True)) is None
    assert remembered(seen(), seen(seen="baseline", gone=True)) is None


def test_attributes_beyond_the_mode():
    change, facts = told(
        seen(acl="user::rw-", xattrs={"user.a": "1", "user.b": "2"}),
        seen(acl="user::rw-,user:7:rw-", capabilities="cap_sys_admin=ep", label="x:y", xattrs={"user.a": "3\n"}),
    )
    assert change.text.split("\n") == [
        "File '/etc/passwd' modified: acl, capabilities, label, xattrs",
        "Access list was 'user::rw-', now 'user::rw-,user:7:rw-'",
        "Capabilities were '', now 'cap_sys_admin=ep'",
        "SELinux label was '', now 'x:y'",
        "Attribute 'user.a' was '1', now '3\\n'",
        "Attribute 'user.b' was '2', now ''",
    ]
    assert facts["capabilities_after"] == "cap_sys_admin=ep"
    assert facts["acl_before"] == "user::rw-"


def test_what_is_not_checked_is_neither_compared_nor_shown():
    before = seen()
    now = seen(size=0, mode=0, inode=0, sha256="bb", unchecked=("size", "permissions", "inode"))
    change, facts = told(before, now)
    assert change.text.startswith("File '/etc/passwd' modified: sha256\n")
    assert not {"size_after", "perm_after", "inode_after"} & facts.keys()


def test_a_new_name_of_a_file_says_that_it_is_one():
    change = compare(None, seen(links=2))
    assert change is not None
    assert change.text == "File '/etc/passwd' added\nIt is one of 2 names of a file (hard links)"
    assert compare(seen(), seen(links=2)) is None


def test_what_is_only_news_is_not_remembered():
    now = seen(diff="-a", moved_from="/x", grown=True)
    assert remembered(None, now) == seen()


def test_what_a_file_says_is_no_word_of_ours():
    change = compare(seen(), seen(sha256="bb", diff="+x\x1b[31m\n+Capabilities were '', now 'x'"))
    assert change is not None
    assert change.text.split("\n")[-3:] == ["What changed:", "  +x\\x1b[31m", "  +Capabilities were '', now 'x'"]


VIM = Who(
    pid=412,
    uid=0,
    user="root",
    effective_uid=0,
    effective_user="root",
    login_uid=1000,
    login_user="ann",
    gid=0,
    group="root",
    process="/usr/bin/vim",
    command="vim /etc/passwd",
    cwd="/root",
    ppid=400,
    parent="/usr/bin/bash",
)


@pytest.mark.parametrize(("before", "now"), [(FILE, seen(size=1)), (None, seen()), (FILE, seen(gone=True))])
def test_who_did_it_is_in_the_text_and_as_wazuh_has_it(before: FileFact | None, now: FileFact):
    change, facts = told(before, msgspec.structs.replace(now, who=VIM))
    assert change.text.split("\n")[-1] == (
        "(Audit) User: 'root' (0), Login user: 'ann' (1000), Process: '/usr/bin/vim' (412), "
        "Parent: '/usr/bin/bash' (400), Command: 'vim /etc/passwd'"
    )
    assert facts["audit"] == {
        "user": {"id": "0", "name": "root"},
        "login_user": {"id": "1000", "name": "ann"},
        "effective_user": {"id": "0", "name": "root"},
        "group": {"id": "0", "name": "root"},
        "process": {
            "id": "412",
            "name": "/usr/bin/vim",
            "ppid": "400",
            "parent_name": "/usr/bin/bash",
            "cwd": "/root",
            "command": "vim /etc/passwd",
        },
    }


def test_what_began_without_a_login_and_what_ended_are_told_as_such():
    change, facts = told(FILE, seen(size=1, who=msgspec.structs.replace(VIM, login_uid=-1)))
    assert "Login user" not in change.text
    assert "login_user" not in facts["audit"]
    change, facts = told(FILE, seen(size=1, who=Who(pid=7, gone=True)))
    assert change.text.split("\n")[-1] == "(Audit) Process: 7, which ended before it could be looked at"
    assert facts["audit"] == {"process": {"id": "7"}, "gone": True}


def test_a_process_cannot_write_lines_of_the_alert():
    change, facts = told(FILE, seen(size=1, who=msgspec.structs.replace(VIM, command="x\nFile '/x' deleted\x1b[2J")))
    assert len(change.text.split("\n")) == 3
    assert facts["audit"]["process"]["command"] == "x\\nFile '/x' deleted\\x1b[2J"


def test_who_did_it_is_no_part_of_the_baseline():
    baseline = remembered(FILE, seen(size=1, who=VIM))
    assert baseline is not None
    assert baseline.who is None
    assert compare(FILE, seen(who=VIM)) is None
