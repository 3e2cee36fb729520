r"""OSSEC's databases of rootkits: files that they leave, and texts in programs that they replaced.

usr/lib/libfoo.so   ! Foo rootkit ::/rootkits/foo.php        rootkit_files; a path that begins with * may lie anywhere
ls                  !bash|^/bin/sh|dev/[^clu]!Foo            rootkit_trojans; a name is looked for where programs lie
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from hids.core.pattern.match import PatternError
from hids.core.rootcheck.matcher import Matcher, extended
from hids.errors import Problem

MAX_DATABASE_BYTES = 1024 * 1024
"""The largest of OSSEC's own has 20 KiB."""
MAX_ENTRIES = 10_000
MAX_PATH = 1_024
MAX_PROBLEMS = 100
"""Of one file; what follows is not listed."""

_PRINTABLE = re.compile(rb"[\t -~]{4,}")

T = TypeVar("T")


class RootkitFile(NamedTuple):
    """A file that only a rootkit has."""

    path: str
    """Below the base folder, without a leading slash; of one that may lie anywhere its end."""
    anywhere: bool
    name: str


class Trojan(NamedTuple):
    """A text that a program has only when it was replaced."""

    program: str
    """A name, or a path without a leading slash."""
    pattern: str
    matcher: Matcher
    note: str


def rootkit_files(where: str, text: str) -> tuple[tuple[RootkitFile, ...], tuple[Problem, ...]]:
    """Read a database of files; what is not understood is left out and listed."""
    return _read(where, text, _rootkit_file)


def trojans(where: str, text: str) -> tuple[tuple[Trojan, ...], tuple[Problem, ...]]:
    """Read a database of programs; what is not understood is left out and listed."""
    return _read(where, text, _trojan)


def strings(data: bytes) -> Iterator[bytes]:
    """The printable texts of a program, of four bytes or more, as binutils' `strings` shows them."""
    return (found[0] for found in _PRINTABLE.finditer(data))


def _read(where: str, text: str, entry: Callable[[str], T]) -> tuple[tuple[T, ...], tuple[Problem, ...]]:
    if len(text) > MAX_DATABASE_BYTES:
        return (), (Problem(where, 0, f"larger than {MAX_DATABASE_BYTES} bytes; this is no such database"),)
    found: list[T] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            found.append(entry(stripped))
        except ValueError as error:
            problems.append(Problem(where, number, str(error)))
        if len(found) >= MAX_ENTRIES or len(problems) >= MAX_PROBLEMS:
            problems.append(Problem(where, number, "too much of it; what follows is not read"))
            break
    return tuple(found), tuple(problems)


def _rootkit_file(line: str) -> RootkitFile:
    path, mark, rest = line.partition("!")
    path = path.strip()
    name = rest.partition("::")[0].strip()
    if not mark or not path.strip("*/") or not name or len(path) > MAX_PATH:
        raise ValueError(f"expected path ! name ::link, got {line[:80]!r}")
    anywhere = path.startswith("*")
    path = path.lstrip("*").lstrip("/")
    if ".." in path.split("/"):
        raise ValueError(f"a path may not lead upwards: {path[:80]!r}")
    return RootkitFile(path, anywhere, name)


def _trojan(line: str) -> Trojan:
    program, mark, rest = line.partition("!")
    pattern, end, note = rest.rpartition("!")
    pattern, note = (pattern, note) if end else (rest, "")  # a line of OSSEC's own lacks the second mark
    program = program.strip().lstrip("/")
    if not mark or not program or not pattern or len(program) > MAX_PATH:
        raise ValueError(f"expected program !pattern!note, got {line[:80]!r}")
    if ".." in program.split("/"):
        raise ValueError(f"a path may not lead upwards: {program[:80]!r}")
    try:
        matcher = extended(pattern.encode("utf-8", "surrogateescape"))
    except PatternError as error:
        raise ValueError(f"pattern {pattern[:80]!r}: {error}") from error
    return Trojan(program, pattern, matcher, note.strip())
