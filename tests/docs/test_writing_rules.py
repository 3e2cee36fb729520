"""The page for people who write rules: its example does what it says, and it leaves out no word of the dialect."""

import re
from pathlib import Path

import pytest

from hids.core.decode import load as decoders
from hids.core.decode.decoder import STATIC_FIELDS
from hids.core.rules import definition
from hids.core.rules.compiled import COMPILED
from hids.core.rules.elements import ORDER
from hids.core.rules.lists import LOOKUPS
from hids.core.rules.load import load
from hids.core.rules.rule import SourceFile
from hids.core.rules.walk import base, decoded, judge
from hids.messages.lines import LogLine

PAGE = (Path(__file__).parents[2] / "docs/writing-rules.md").read_text()
WORDS = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]*)`", PAGE))))


def test_the_example() -> None:
    found = re.search(r"```xml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    ruleset = load("mine", "hids", [SourceFile("myapp.xml", found[1].encode())])
    line = LogLine("/var/log/syslog", b"Nov 24 03:21:42 web1 myapp: login of joe from 192.0.2.7 failed", 0, 0)
    event = decoded(ruleset, line)
    assert event.fields == {"srcuser": b"joe", "srcip": b"192.0.2.7", "status": b"failed"}
    verdict = judge(ruleset, event)
    assert verdict is not None
    assert ruleset.rules[base(verdict.residual)].id == 290010


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("elements of a decoder", {*decoders._PLAIN["hids"], *decoders._TYPED}),
        ("plug-ins", decoders._PLUGINS["hids"]),
        ("fields", STATIC_FIELDS),
        ("conditions", {*ORDER, *definition._TEXTS, *definition._FLAGS} - {"category"}),
        ("elements that may stand twice", definition._REPEATABLE),
        ("options", {*definition._OPTIONS, *definition._WAZUH_OPTIONS}),
        ("lookups", LOOKUPS),
        ("tests that are code", COMPILED),
        (
            "attributes",
            {"id", "level", "frequency", "timeframe", "ignore", "noalert", "maxsize", "overwrite", "negate"},
        ),
    ],
)
def test_nothing_is_left_out(what: str, names: set[str]) -> None:
    assert set(names) - WORDS == set(), what
