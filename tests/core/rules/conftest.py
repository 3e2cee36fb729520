"""Rulesets from text."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile
from hids.errors import RulesetError
from hids.messages.lines import LogLine

CATEGORIES = ("syslog", "firewall", "ids", "web-log", "squid", "windows", "ossec")
TEMPLATES = "".join(
    f'<group name="{category}"><rule id="0{number}" level="0" noalert="1"><category>{category}</category>'
    f"<description>all {category} rules</description></rule></group>"
    for number, category in enumerate(CATEGORIES, 1)
)
"""Upstream's top-level rules, one a category (rule language 4.1)."""


def _files(text: str, dialect: str) -> list[SourceFile]:
    own = SourceFile("r.xml", text.encode("utf-8", "surrogateescape"))
    return [SourceFile("t.xml", TEMPLATES.encode()), own] if dialect != "hids" else [own]


@pytest.fixture(scope="session")
def make_ruleset() -> Callable[..., Ruleset]:
    """A function: text, dialect and options of `load` -> ruleset."""

    def make(text: str, dialect: str = "hids", **options: Any) -> Ruleset:
        return load("test", dialect, _files(text, dialect), **options)

    return make


@pytest.fixture(scope="session")
def problems_of() -> Callable[..., list[str]]:
    """A function: text and dialect -> what is wrong with it."""

    def problems(text: str, dialect: str = "hids", **options: Any) -> list[str]:
        with pytest.raises(RulesetError) as caught:
            load("test", dialect, _files(text, dialect), **options)
        return [str(problem) for problem in caught.value.problems]

    return problems


@pytest.fixture(scope="session")
def make_line() -> Callable[..., LogLine]:
    """A function: text -> line."""

    def make(text: str | bytes, **members: Any) -> LogLine:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        return msgspec.structs.replace(LogLine("/var/log/x", raw, 0, 0), **members)

    return make
