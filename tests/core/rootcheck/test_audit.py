"""Audit databases: every form that they have, what is wrong with file and line, and OSSEC's own."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.rootcheck.audit import MAX_DATABASE_BYTES, MAX_PROBLEMS, Condition, parse

CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")


def conditions(*lines: str, how: str = "any") -> tuple[Condition, ...]:
    database = parse("x.txt", "\n".join(("$v=/a, /b;", f"[n] [{how}] []", *lines)))
    assert not database.problems
    return database.checks[0].conditions


def test_a_check_with_its_head():
    text = "# words\n\n[A name [with brackets] {PCI: 1}] [all required] [http://x, y]\nf:/a;\n[b] [none] []\nd:/c;\n"
    first, second = parse("x.txt", text).checks
    assert (first.name, first.how, first.required) == ("A name [with brackets] {PCI: 1}", "all", True)
    assert first.reference == "http://x, y"
    assert (second.name, second.how, second.required, second.reference) == ("b", "none", False, "")


@pytest.mark.parametrize(
    ("line", "kind", "negated", "targets"),
    [
        ("f:/a,/b;", "f", False, ("/a", "/b")),
        ("f:!/a", "f", True, ("/a",)),
        ("f!:/a;", "f", True, ("/a",)),
        ("f:$v -> r:x;", "f", False, ("/a", "/b")),
        ("d:$v -> ^x$ -> r:y;", "d", False, ("/a", "/b")),
        ("d:/a;", "d", False, ("/a",)),
        ("p:r:sshd;", "p", False, ()),
        (r"r:HKLM\A, B\C -> Name -> !1;", "r", False, (r"HKLM\A, B\C",)),
    ],
)
def test_conditions(line: str, kind: str, negated: bool, targets: tuple[str, ...]):  # noqa: FBT001
    (condition,) = conditions(line)
    assert (condition.kind, condition.negated, condition.targets) == (kind, negated, targets)


@pytest.mark.parametrize(
    ("expression", "holds", "fails"),
    [
        ("Yes", b"yes", b"yes "),
        ("=:0", b"0", b"10"),
        ("!0", b"1", b"0"),
        ("r:^umask && <:umask 027", b"umask 022", b"umask 077"),
        (">:b", b"c", b"a"),
        ("!r:^# && r:Port\\.+22", b"Port 22", b"#Port 22"),
        ("r:a && !r:b", b"a", b"ab"),
    ],
)
def test_expressions(expression: str, holds: bytes, fails: bytes):
    (condition,) = conditions(f"f:/a -> {expression};")
    assert condition.content is not None
    assert condition.content.holds(holds)
    assert not condition.content.holds(fails)


def test_entries_of_a_folder_are_matched_as_expressions_without_saying_so():
    (condition,) = conditions(r"d:/etc/rc2.d -> ^S\d\dnfs$;")
    assert condition.name is not None
    assert condition.name.holds(b"S20nfs")
    assert not condition.name.holds(b"S20nfsd")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[a] [some] []", "x.txt:3: expected [name] [any|all|none] [reference]"),
        ("g:/a;", "x.txt:3: expected f:, d:, p: or r:"),
        ("f:$w;", "x.txt:3: $w is not defined above"),
        ("f: -> r:x;", "x.txt:3: a condition without a path"),
        ("f:/a -> r:\\q;", "x.txt:3: '\\\\q': \\q is no os_regex escape"),
        ("f:/a -> ;", "x.txt:3: expected 1 to 4096 bytes to compare with, got 0"),
        ("$x", "x.txt:3: expected $name=value"),
        ("f:" + ",".join(["/a"] * 2000) + ";", "x.txt:3: at most 1000 paths"),
        ("p:r:" + "a" * 5000 + ";", "x.txt:3: expected 1 to 4096 bytes to compare with, got 5000"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(line: str, complaint: str):
    database = parse("x.txt", f"[n] [any] []\nf:/a;\n{line}\n")
    assert len(database.problems) == 1
    assert str(database.problems[0]).startswith(complaint)
    assert [check.name for check in database.checks] == ["n"], "the rest of it is used"


def test_a_condition_before_the_first_check_is_wrong():
    assert "before the first" in str(parse("x.txt", "f:/a;").problems[0])


def test_a_broken_line_of_a_check_that_needs_all_takes_the_check_with_it():
    text = "[n] [{}] []\nf:/a;\nf:/b -> r:\\q;\n"
    assert len(parse("x.txt", text.format("any")).checks[0].conditions) == 1
    assert parse("x.txt", text.format("all")).checks == ()
    assert parse("x.txt", text.format("none")).checks == ()


def test_what_is_no_database_is_refused_before_it_takes_memory():
    assert parse("x.txt", "a" * (MAX_DATABASE_BYTES + 1)).checks == ()
    assert len(parse("x.txt", "junk\n" * 100_000).problems) <= MAX_PROBLEMS + 1


@given(st.text(alphabet="[]any \n$=;:fdpr!-> &/\\.+x,#", max_size=200))
def test_any_text_gives_checks_or_problems(text: str):
    database = parse("x.txt", text)
    assert all(check.conditions for check in database.checks)


@pytest.mark.skipif(CONFORMANCE is None, reason="HIDS_CONFORMANCE does not say where OSSEC's own databases are")
def test_all_of_ossecs_and_wazuhs_own_load():
    folder = Path(CONFORMANCE or "")
    files = [*folder.glob("*/rootcheck/*rcl*.txt"), *folder.glob("*/rootcheck/system_audit*.txt")]
    assert len(files) >= 35
    for path in files:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        database = parse(path.name, text)
        heads = sum(line.strip().startswith("[") for line in text.splitlines())
        assert len(database.checks) >= 0.9 * heads or len(database.problems) > 50, path
        assert all(problem.line for problem in database.problems)
        strange = [
            each for each in database.problems if not re.search(r"no os_regex escape|'-> !1;'|not defined", each.text)
        ]
        assert not strange, (
            "what is wrong in them: escapes that are none, lines that are cut in two, a missing variable"
        )
