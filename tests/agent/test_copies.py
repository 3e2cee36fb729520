"""Copies of files, and what changed inside them."""

import hashlib
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hids.agent.copies import BINARY, CUT, Copies, unified
from hids.messages.syscheck import FileFact


def fact(path: Path) -> FileFact:
    content = path.read_bytes()
    return FileFact(str(path), "live", size=len(content), sha256=hashlib.sha256(content).hexdigest())


def copies(tmp_path: Path, max_bytes: int = 10_000, budget: int = 100_000) -> Copies:
    return Copies(tmp_path / "copies", max_bytes=max_bytes, budget_bytes=budget)


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "copies").glob("*/*"))


def test_a_change_is_told_line_by_line_and_the_copy_follows(tmp_path: Path):
    path = tmp_path / "a.conf"
    path.write_text("one\ntwo\nthree\n")
    kept_copies = copies(tmp_path)
    before = fact(path)
    assert kept_copies.difference(str(path), None, before) == ""
    path.write_text("one\n2\nthree\n")
    now = fact(path)
    assert kept_copies.difference(str(path), before, now) == "@@ -1,4 +1,4 @@\n one\n-two\n+2\n three\n "
    # Until the change is known to be stored, the same question has the same answer, after a restart as well.
    assert "+2" in copies(tmp_path).difference(str(path), before, now)
    path.write_text("one\n2\n3\n")
    assert "-three" in kept_copies.difference(str(path), now, fact(path))
    assert len(kept(tmp_path)) == 2


def test_copies_are_for_nobody_else(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("secret")
    copies(tmp_path).difference(str(path), None, fact(path))
    (copy,) = kept(tmp_path)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copies").stat().st_mode & 0o777 == 0o700
    copies(tmp_path).drop(str(path))
    assert kept(tmp_path) == []


def test_what_is_too_large_or_over_the_budget_is_not_kept(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(os.urandom(500))
    copies(tmp_path, max_bytes=499).difference(str(path), None, fact(path))
    assert kept(tmp_path) == []
    small = copies(tmp_path, budget=600)
    small.difference(str(path), None, fact(path))
    other = tmp_path / "b"
    other.write_bytes(os.urandom(500))
    small.difference(str(other), None, fact(other))
    assert len(kept(tmp_path)) == 1
    small.drop(str(path))
    small.difference(str(other), None, fact(other))
    assert len(kept(tmp_path)) == 1


def test_what_changed_again_meanwhile_is_left_for_the_next_look(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("one")
    seen = fact(path)
    path.write_text("two")
    assert copies(tmp_path).difference(str(path), None, seen) == ""
    assert kept(tmp_path) == []


def test_a_damaged_copy_is_no_difference(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("one")
    before = fact(path)
    copies(tmp_path).difference(str(path), None, before)
    (copy,) = kept(tmp_path)
    copy.write_bytes(b"damaged")
    path.write_text("two")
    assert copies(tmp_path).difference(str(path), before, fact(path)) == ""


def test_what_is_no_text_is_said_to_be_none():
    assert unified(b"a\0b", b"a\0c") == BINARY
    assert unified(b"\xff\n", b"\xfe\n") == "@@ -1,2 +1,2 @@\n-\\xff\n+\\xfe\n "


def test_line_numbers_count_from_the_start_of_the_file():
    before = "".join(f"line {number}\n" for number in range(5000))
    told = unified(before.encode(), before.replace("line 4000\n", "LINE\n").encode())
    assert told.splitlines()[0] == "@@ -3998,7 +3998,7 @@"
    assert "-line 4000" in told


def test_a_file_that_is_made_to_take_long_does_not():
    old = b"".join(b"x%d\n" % (number % 40) for number in range(60_000))
    new = b"".join(b"x%d\n" % (number % 41) for number in range(60_000))
    assert unified(old, new).startswith("(too many lines changed")
    long = unified(b"", b"".join(b"%d%s\n" % (number, b"y" * 400) for number in range(500)))
    assert long.endswith(CUT)
    assert len(long) < 13_000


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_two_contents(before: bytes, now: bytes):
    told = unified(before, now)
    assert told.encode().decode() == told
    if b"\0" not in before + now and _text(before) != _text(now):
        assert "@@" in told
    if before == now and b"\0" not in before:
        assert told == ""


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
