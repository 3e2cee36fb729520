"""Who answers for a change."""

import msgspec
import pytest

from hids.core.syscheck.change import Change, compare
from hids.core.syscheck.verdict import judge, tell
from hids.messages.baseline import Maintenance
from hids.messages.syscheck import FileFact, Packaged
from hids.messages.terms import AgentId

BEFORE = FileFact(path="/usr/bin/x", seen="scan", size=1, mode=0o755, sha256="a")
NOW = FileFact(path="/usr/bin/x", seen="live", size=2, mode=0o755, sha256="b")
WORK = Maintenance("id", (AgentId("007"),), "web1", "alice\n", "new\x1b disks", 0, 10)


def packaged(content: str, *, recent: bool) -> Packaged:
    return msgspec.convert({"name": "x", "version": "1.2", "content": content, "recent": recent}, Packaged)


def changed(before: FileFact | None, now: FileFact) -> Change:
    change = compare(before, now)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("content", "recent", "in_work", "verdict"),
    [
        ("same", True, False, "package"),
        ("same", True, True, "package"),
        ("same", False, False, ""),
        ("same", False, True, "maintenance"),
        ("other", True, False, "wrong"),
        ("other", True, True, "wrong"),
        ("other", False, False, ""),
        ("other", False, True, ""),
        ("conffile", True, False, ""),
        ("conffile", False, True, "maintenance"),
        ("unknown", True, True, ""),
    ],
)
def test_a_package_answers_for_its_content(content: str, recent: object, in_work: object, verdict: str):
    now = msgspec.structs.replace(NOW, package=packaged(content, recent=bool(recent)))
    assert judge(changed(BEFORE, now), BEFORE, now, WORK if in_work else None) == verdict


def test_what_no_package_owns_is_nobodys_even_in_a_maintenance():
    assert judge(changed(BEFORE, NOW), BEFORE, NOW, WORK) == ""


@pytest.mark.parametrize(
    "right",
    [{"mode": 0o4755}, {"mode": 0o775}, {"uid": 1}, {"gid": 1}, {"capabilities": "cap_net_raw=ep"}, {"acl": "u:x:rwx"}],
)
def test_nobody_answers_for_a_new_right(right: dict[str, object]):
    now = msgspec.structs.replace(NOW, package=packaged("same", recent=True), **right)
    assert judge(changed(BEFORE, now), BEFORE, now, WORK) == ""


def test_a_right_that_is_taken_away_or_came_with_the_package_is_well():
    package = packaged("same", recent=True)
    before = msgspec.structs.replace(BEFORE, mode=0o4755)
    now = msgspec.structs.replace(NOW, package=package)
    assert judge(changed(before, now), before, now, None) == "package"
    new = msgspec.structs.replace(NOW, mode=0o4755, package=package)
    assert judge(changed(None, new), None, new, None) == "package"


def test_a_package_lets_go_of_a_path():
    gone = msgspec.structs.replace(NOW, gone=True, package=packaged("same", recent=True))
    assert judge(changed(BEFORE, gone), BEFORE, gone, None) == "package"
    still = msgspec.structs.replace(gone, package=packaged("unknown", recent=True))
    assert judge(changed(BEFORE, still), BEFORE, still, WORK) == ""


def test_the_line_says_who_answers():
    now = msgspec.structs.replace(NOW, package=packaged("other", recent=True))
    told = tell(changed(BEFORE, now), "wrong", now.package, None, 3)
    lines = told.text.split("\n")
    assert lines[0] == "Not what the package has: File '/usr/bin/x' modified: size, sha256"
    assert lines[-1] == "Package: x 1.2 has another content there"
    member = msgspec.json.decode(b"{" + told.facts + b"}")["syscheck"]
    assert (member["changes"], member["verdict"]) == (3, "wrong")
    assert member["package"] == {"name": "x", "version": "1.2", "content": "other", "recent": True}
    assert member["path"] == "/usr/bin/x"


def test_words_from_outside_stay_on_their_line():
    told = tell(changed(BEFORE, NOW), "", Packaged("a\nMaintenance: b", "1\r"), WORK, 0)
    lines = told.text.split("\n")
    assert lines[0].startswith("File '/usr/bin/x' modified")
    assert lines[-2:] == [
        r"Package: a\nMaintenance: b 1\r does not say what its content is",
        r"Maintenance: alice\n: new\x1b disks",
    ]


def test_a_change_that_nobody_speaks_of_is_told_as_it_was():
    change = changed(BEFORE, NOW)
    assert tell(change, "", None, None, 0) == change
