"""OSSEC's and Wazuh's own rulesets, whole and as they are: what the plan says is what the naive walk says.

That both agree with upstream's answers is shown by tests/conformance, correlation and all.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hids.core.decode.event import Origin
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.walk import decoded, judge
from hids.messages.lines import LogLine

HOST = Origin(b"vm")
SUITES: list[Dialect] = ["ossec", "wazuh"]


@pytest.fixture(scope="module")
def folder() -> Path:
    path = os.environ.get("HIDS_CONFORMANCE")
    if not path:
        pytest.skip("HIDS_CONFORMANCE is not set to the folder of the conformance data")
    return Path(path)


def stock(folder: Path, dialect: Dialect, which: str) -> Ruleset:
    order: Any = json.loads((folder / dialect / "load.json").read_text())
    order = order if dialect == "ossec" else order[which]
    files = [SourceFile(path, (folder / dialect / path).read_bytes()) for path in (*order["decoders"], *order["rules"])]
    lists = {name: (folder / dialect / path).read_bytes() for name, path in dict(order["lists"]).items()}
    return load(dialect, dialect, files, lists)


def logs(folder: Path) -> list[bytes]:
    """Those of both suites: each set meets the other's lines, too."""
    return [
        log.encode("utf-8", "surrogateescape")
        for path in sorted(folder.glob("*/tests/*.jsonl"))
        for record in path.read_text().splitlines()
        for log in json.loads(record)["logs"]
    ]


@pytest.mark.parametrize(("dialect", "decoders", "rules"), [("ossec", 335, 1126), ("wazuh", 1576, 4511)])
def test_nothing_of_the_stock_sets_is_refused(folder: Path, dialect: Dialect, decoders: int, rules: int) -> None:
    ruleset = stock(folder, dialect, "production")
    assert ruleset.refused == ()
    assert (ruleset.decoders.count, len(ruleset.rules)) == (decoders, rules)


@pytest.mark.parametrize("dialect", SUITES)
def test_the_plan_says_what_the_naive_walk_says(folder: Path, dialect: Dialect) -> None:
    ruleset = stock(folder, dialect, "testing")
    plan: Plan = compile_plan(ruleset)
    texts = logs(folder)
    for text in (*texts, *reversed(texts)):  # the second time much is remembered
        line = LogLine("stdin", text, 0, 0)
        naive, event = decoded(ruleset, line, HOST), plan.recognise(line, HOST)
        expected, verdict = judge(ruleset, naive), plan.judge(event)
        assert verdict == expected, text
        assert event.fields == naive.fields, text
    assert len(texts) > 1000
