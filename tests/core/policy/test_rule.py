"""Rules as policies write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy.rule import Rule, parse_rule
from hids.errors import ConfigError

VARIABLES = {"$sshd": "/etc/ssh/sshd_config,/opt/sshd_config", "$sshd_bin": "/usr/sbin/sshd", "$unit": "apache2"}


def rule(text: str) -> Rule:
    return parse_rule(text, VARIABLES, "osregex")


@pytest.mark.parametrize(
    ("text", "kind", "negated", "targets", "name", "content"),
    [
        ("f:/etc/passwd", "file", False, ("/etc/passwd",), 0, 0),
        ("not f:/etc/hosts.equiv", "file", True, ("/etc/hosts.equiv",), 0, 0),
        ("NOT f:/etc/hosts.equiv", "file", True, ("/etc/hosts.equiv",), 0, 0),
        ("!f:/x", "file", True, ("/x",), 0, 0),
        ("not !f:/x", "file", False, ("/x",), 0, 0),
        ("f:/a,/b , /c -> r:x", "file", False, ("/a", "/b", "/c"), 0, 1),
        ("f:$sshd -> !r:^# && r:Port", "file", False, ("/etc/ssh/sshd_config", "/opt/sshd_config"), 0, 2),
        ("f:$sshd_bin", "file", False, ("/usr/sbin/sshd",), 0, 0),
        ("f:/a -> r:x -> y", "file", False, ("/a",), 0, 1),  # a file has one arrow; the other is text
        ("d:/etc/audit", "directory", False, ("/etc/audit",), 0, 0),
        (r"d:/etc/audit -> r:\.rules$", "directory", False, ("/etc/audit",), 1, 0),
        ("d:/a,/b -> x -> r:y && r:z", "directory", False, ("/a", "/b"), 1, 2),
        ("p:sshd", "process", False, ("sshd",), 0, 0),
        ("not p:r:^sshd", "process", True, ("r:^sshd",), 1, 0),
        ("c:systemctl is-enabled $unit -> enabled", "command", False, ("systemctl is-enabled apache2",), 0, 1),
        ("c:findmnt -n /dev/shm-> r:^/dev", "command", False, ("findmnt -n /dev/shm",), 0, 1),
        ("c:awk '{print $1}' /a, /b -> r:x", "command", False, ("awk '{print $1}' /a, /b",), 0, 1),
        ('c: sh -c "a | b"  ->  r:x', "command", False, ('sh -c "a | b"',), 0, 1),
        (r"r:HKLM\Software\X", "registry", False, (r"HKLM\Software\X",), 0, 0),
        (r"r:HKLM\X -> Limit", "registry", False, (r"HKLM\X",), 1, 0),
        (r"r:HKLM\X -> Limit -> n:^(\d+) compare > 0", "registry", False, (r"HKLM\X",), 1, 1),
    ],
)
def test_forms(
    text: str,
    kind: str,
    negated: bool,  # noqa: FBT001 - a table of cases
    targets: tuple[str, ...],
    name: int,
    content: int,
):
    found = rule(text)
    assert (found.kind, found.negated, found.targets) == (kind, negated, targets)
    assert len(found.name.terms if found.name else ()) == name
    assert len(found.content.terms if found.content else ()) == content
    assert found.written == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected f:, d:, p:, c: or r:"),
        ("x:/etc", "expected f:, d:, p:, c: or r:"),
        ("f!:/etc", "expected f:, d:, p:, c: or r:"),
        ("f:", "there is nothing behind f:"),
        ("c: -> r:x", "there is nothing behind c:"),
        ("p:sshd -> r:x", "a process has no content"),
        ("f:/a -> r:(", "pattern '('"),
        (r"f:/a -> n:(\d+) compare =< 3", "expected n:PATTERN compare"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, complaint: str):
    with pytest.raises(ConfigError) as caught:
        rule(text)
    assert complaint in str(caught.value)


def test_a_variable_cannot_grow_without_end():
    with pytest.raises(ConfigError, match="more than 16384 characters"):
        parse_rule("c:" + "$x" * 1_000, {"$x": "y" * 1_000}, "osregex")


@given(st.text(max_size=80) | st.text(st.sampled_from("fdpcrnot !:->&$x(/,"), max_size=30))
def test_any_text_is_read_or_refused(text: str):
    try:
        found = rule(text)
    except ConfigError as error:
        assert str(error)
    else:
        assert found.targets or found.kind in ("file", "directory")
