import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from hids.core.rules import scan
from hids.core.rules.scan import Scanner, build

Maker = Callable[[Sequence[bytes]], Scanner | None]
MAKERS: list[Maker] = [scan._re2, scan._hyperscan, scan._plain]
EXPRESSIONS = [rb"(?i)abc\n?\z", b"", rb"\Ax", rb"(?:)b\b", rb"[\x21-\xff]+", rb"(?s:.*)q\z"]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (b"xABC\n", {0, 1, 2, 4}),
        (b"", {1}),
        (b"ab", {1, 3, 4}),
        (b"\xff\x00", {1, 4}),
        (b"a\nq", {1, 4, 5}),
        (b" \t", {1}),
    ],
)
def test_engines_agree(make: Maker, text: bytes, hits: set[int]) -> None:
    scanner = make(EXPRESSIONS)
    assert scanner is not None
    assert scanner.ids.keys() == set(range(6))
    found = set(scanner.scan(text)) & set(scanner.ids.values())
    assert found == {scanner.ids[position] for position in hits}


@pytest.mark.parametrize(("make", "position"), [(scan._re2, 1), (scan._hyperscan, 1)])
def test_an_expression_that_an_engine_refuses_has_no_id(make: Maker, position: int) -> None:
    refused = b"a{2000}" if make is scan._re2 else rb"a\Ab"
    scanner = make([b"a", refused, b"b"])
    assert scanner is not None
    assert position not in scanner.ids
    assert {scanner.ids[0], scanner.ids[2]} <= set(scanner.scan(b"ba"))


def test_nothing_to_look_for() -> None:
    assert build((), "re2").scan(b"x") == ()
    assert scan._hyperscan([rb"a\Ab"]) is None


@pytest.mark.parametrize(
    ("prefer", "missing", "engine"),
    [
        ("re2", (), "re2"),
        ("hyperscan", (), "hyperscan"),
        ("re2", ("re2",), "hyperscan"),
        ("hyperscan", ("hyperscan",), "re2"),
        ("re2", ("re2", "hyperscan"), "re"),
    ],
)
def test_each_engine_stands_in_for_the_other(
    monkeypatch: pytest.MonkeyPatch, prefer: Any, missing: tuple[str, ...], engine: str
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    scanner = build([b"a"], prefer)
    assert scanner.engine == engine
    assert scanner.ids[0] in scanner.scan(b"xa")


def test_an_automaton_without_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import re2  # noqa: PLC0415 - looked at only here

    class Exhausted:
        """RE2 answers so when its memory is used up."""

        def __init__(self, compiled: Any) -> None:
            self.Add = compiled.Add
            self.Compile = compiled.Compile

        def Match(self, _text: bytes) -> None:  # noqa: N802 - the library's name
            return None

    starved = SimpleNamespace(
        Options=re2.Options,
        error=re2.error,
        Set=SimpleNamespace(SearchSet=lambda options: Exhausted(re2.Set.SearchSet(options))),
    )
    monkeypatch.setitem(sys.modules, "re2", starved)
    scanner = build([b"a", b"b"], "re2")
    assert scanner.engine == "re2"
    assert set(scanner.scan(b"xb")) == {scanner.ids[1]}
