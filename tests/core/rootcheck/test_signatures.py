"""Databases of rootkits: forms, errors, OSSEC's own and ours."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.rootcheck.signatures import MAX_DATABASE_BYTES, RootkitFile, rootkit_files, strings, trojans

CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")
OURS = Path(__file__).parents[3] / "signatures"


def test_files():
    read, problems = rootkit_files("f.txt", "# x\n\ntmp/a b ! A kit ::/x.php\n*/deep/one ! Deep ::\n/abs ! Abs\n")
    assert read == (
        RootkitFile("tmp/a b", False, "A kit"),
        RootkitFile("deep/one", True, "Deep"),
        RootkitFile("abs", False, "Abs"),
    )
    assert problems == ()


def test_programs():
    (read, path, bare), problems = trojans("t.txt", "ls !^/bin/sh|x!y!Note\n/etc/rc !HIDE!\ninit !bash|/dev/h\n")
    assert (read.program, read.pattern, read.note) == ("ls", "^/bin/sh|x!y", "Note")
    assert read.matcher.matches(b"ax!y")
    assert (path.program, path.note) == ("etc/rc", "")
    assert (bare.pattern, bare.note) == ("bash|/dev/h", "")
    assert problems == ()


@pytest.mark.parametrize(
    "line", ["no mark", "* ! x ::", "a/../../etc/passwd ! x ::", "tmp/x ! ::", "a" * 2000 + " ! x ::"]
)
def test_files_that_are_none(line: str):
    read, (problem,) = rootkit_files("f.txt", f"# x\n{line}\n")
    assert read == ()
    assert str(problem).startswith("f.txt:2: ")


@pytest.mark.parametrize("line", ["ls", "ls !!", "!x!", "ls !(a!x", "../ls !a!", "ls !a{99}!"])
def test_programs_that_are_none(line: str):
    read, (problem,) = trojans("t.txt", f"{line}\n")
    assert read == ()
    assert str(problem).startswith("t.txt:1: ")


def test_a_file_that_is_far_too_large_is_not_read():
    assert rootkit_files("f.txt", "a ! b\n" * MAX_DATABASE_BYTES)[0] == ()
    assert len(rootkit_files("f.txt", "junk\n" * 100_000)[1]) <= 101


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str):
    rootkit_files("f.txt", text)
    trojans("t.txt", text)


@given(st.lists(st.sampled_from([b"abcd", b"abc", b"\0", b"\xff", b"x\ty z"]), max_size=8))
def test_strings_are_those_of_four_printable_bytes(parts: list[bytes]):
    data = b"\0".join(parts)
    assert list(strings(data)) == [row for row in data.replace(b"\xff", b"\0").split(b"\0") if len(row) >= 4]


def test_ours_have_no_error():
    for read, name, least in ((rootkit_files, "rootkit_files.txt", 80), (trojans, "rootkit_trojans.txt", 15)):
        entries, problems = read(name, (OURS / name).read_text())
        assert len(entries) >= least
        assert problems == ()


@pytest.mark.skipif(CONFORMANCE is None, reason="HIDS_CONFORMANCE does not say where OSSEC's own databases are")
@pytest.mark.parametrize("product", ["ossec", "wazuh"])
def test_ossecs_and_wazuhs_own_load(product: str):
    folder = Path(CONFORMANCE or "") / product / "rootcheck"
    for read, name, least in ((rootkit_files, "rootkit_files.txt", 250), (trojans, "rootkit_trojans.txt", 70)):
        entries, problems = read(name, (folder / name).read_text(errors="surrogateescape"))
        assert len(entries) >= least
        assert len(problems) <= 1, "one line of theirs has another mark than all others"
