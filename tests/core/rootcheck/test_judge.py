"""What a database finds, with a host made up for it."""

from collections.abc import Iterable, Mapping, Sequence

import pytest

from hids.core.rootcheck.audit import parse
from hids.core.rootcheck.judge import Process, judge, words


class MadeUp:
    """A host of a few files."""

    def __init__(
        self, files: Mapping[str, list[bytes]], registry: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self._files = files
        self._registry = registry

    def paths(self, target: str) -> Iterable[str]:
        return (target,)

    def exists(self, path: str) -> bool:
        return any(each == path or each.startswith(path + "/") for each in self._files)

    def lines(self, path: str) -> Iterable[bytes] | None:
        return self._files.get(path)

    def entries(self, path: str) -> Iterable[tuple[bytes, str]]:
        return [(each.rpartition("/")[2].encode(), each) for each in self._files if each.startswith(path + "/")]

    def processes(self) -> Sequence[Process]:
        return (Process(b"sshd", b"/usr/sbin/sshd", b"/usr/sbin/sshd -D"), Process(b"kthread", b"", b""))

    def values(self, key: str) -> Mapping[str, str] | None:
        return None if self._registry is None else self._registry.get(key)

    @property
    def has_registry(self) -> bool:
        return self._registry is not None


FILES = {"/etc/a": [b"# yes", b"no"], "/etc/b": [b"yes"], "/www/.x/shell.php": [b"<?php evil"], "/etc/empty": []}
REGISTRY = {"HKLM\\A": {"Audit": "1", "Limit": "0"}}


def found(conditions: str, how: str = "any", registry: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    database = parse("x.txt", f"[n] [{how}] []\n{conditions}")
    assert not database.problems
    return [each.file for each in judge(database, MadeUp(FILES, registry)) if each is not None]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("f:/etc/a;", ["/etc/a"]),
        ("f:/etc/none;", []),
        ("f:/etc/none,/etc/b;", ["/etc/b"]),
        ("f:!/etc/none;", ["/etc/none"]),
        ("f:!/etc/a;", []),
        ("f:/etc/a -> no;", ["/etc/a"]),
        ("f:/etc/a -> r:yes;", ["/etc/a"]),
        ("f:/etc/a -> !r:^# && r:yes;", []),
        ("f:/etc/a -> !r:maybe;", ["/etc/a"]),
        ("f:/etc/a -> !r:yes;", []),
        ("f:/etc/none -> !r:yes;", []),
        ("f:/etc/empty -> !r:yes;", ["/etc/empty"]),
        ("f:!/etc/a -> r:yes;", []),
        ("d:/www;", ["/www"]),
        ("d:/www -> .php$;", ["/www/.x/shell.php"]),
        ("d:/www -> .php$ -> r:^<?php;", ["/www/.x/shell.php"]),
        ("d:/www -> .php$ -> r:^#!;", []),
        ("p:sshd;", [""]),
        ("p:/usr/sbin/sshd;", [""]),
        ("p:r:sshd -D$;", [""]),
        ("p:telnetd;", []),
        ("p:!telnetd;", [""]),
        ("p:!sshd;", []),
        ("r:HKLM\\A;", []),
    ],
)
def test_one_condition(conditions: str, expected: list[str]):
    assert found(conditions) == expected


@pytest.mark.parametrize(
    ("how", "conditions", "expected"),
    [
        ("any", "f:/no;\nf:/etc/b;", ["/etc/b"]),
        ("all", "f:/no;\nf:/etc/b;", []),
        ("all", "f:/etc/a;\nf:/etc/b;", ["/etc/a"]),
        ("none", "f:/no;\nf:/nor;", [""]),
        ("none", "f:/no;\nf:/etc/b;", []),
        ("all", "f:/etc/a;\nr:HKLM\\A;", []),  # it cannot be decided without a registry
        ("any", "f:/etc/a;\nr:!HKLM\\A;", ["/etc/a"]),
        ("any", "r:!HKLM\\A;", []),
    ],
)
def test_how_many_must_hold(how: str, conditions: str, expected: list[str]):
    assert found(conditions, how) == expected


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("r:HKLM\\A;", True),
        ("r:HKLM\\B;", False),
        ("r:HKLM\\A -> Limit;", True),
        ("r:HKLM\\A -> !Limit;", False),
        ("r:HKLM\\A -> !Other;", True),
        ("r:HKLM\\A -> Limit -> 0;", True),
        ("r:HKLM\\A -> Limit -> !0;", False),
        ("r:HKLM\\A -> r:^Aud -> r:^1$;", True),
    ],
)
def test_the_registry_where_there_is_one(condition: str, holds: bool):  # noqa: FBT001
    assert found(condition, registry=REGISTRY) == ([""] if holds else [])


def test_a_file_is_not_for_this_host_when_what_it_requires_is_not_found():
    text = "[for it] [any required] []\nf:{};\n[more] [any] []\nf:/etc/b;\n"
    for path, names in (("/etc/a", ["for it", "more"]), ("/none", [])):
        results = judge(parse("x.txt", text.format(path)), MadeUp(FILES))
        assert [each.check.name for each in results if each is not None] == names


def test_the_words_are_those_that_ossecs_rules_know():
    (hit,) = (each for each in judge(parse("x", "[N {CIS: 1}] [any] [u]\nf:/etc/a;"), MadeUp(FILES)) if each)
    assert words("System Audit", hit) == "System Audit: N {CIS: 1}. File: /etc/a. Reference: u ."
    (bare,) = (each for each in judge(parse("x", "[N] [any] []\np:sshd;"), MadeUp(FILES)) if each)
    assert words("Windows Malware", bare) == "Windows Malware: N."
