"""OSSEC's own rules and tests, less what this version does not have: what is left must answer as OSSEC does."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hids.core.decode.event import Event
from hids.core.rules.conditions import Condition
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.walk import base, decoded, judge, walk
from hids.errors import Problem, RulesetError
from hids.messages import LogLine


class Subset(NamedTuple):
    ruleset: Ruleset
    problems: tuple[Problem, ...]
    """What the whole ruleset was refused for."""


def without(text: bytes, lines: set[int], tag: bytes) -> bytes:
    """The file with the elements that these lines belong to blanked."""
    rows = text.split(b"\n")
    for line in lines:
        start = line - 1
        while start >= 0 and not re.search(rb"<" + tag + rb"[ >]", rows[start]):
            start -= 1
        end = start
        while b"</" + tag + b">" not in rows[end]:
            end += 1
        rows[start : end + 1] = [b""] * (end + 1 - start)
    return b"\n".join(rows)


@pytest.fixture(scope="module")
def subset(upstream: Path) -> Subset:
    order = json.loads((upstream / "load.json").read_text())
    paths = ["decoders/decoder.xml", *order["rules"]]
    files = [SourceFile(path, (upstream / path).read_bytes()) for path in paths]
    first: tuple[Problem, ...] = ()
    for _ in range(10):
        try:
            return Subset(load("ossec", "ossec", files), first)
        except RulesetError as error:
            first = first or error.problems
            lines = {file.path: {p.line for p in error.problems if p.file == file.path} for file in files}
        files = [
            SourceFile(f.path, without(f.text, lines[f.path], b"decoder" if f.path.startswith("dec") else b"rule"))
            for f in files
        ]
    pytest.fail("blanking what is not supported leads nowhere")


def cases(upstream: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted((upstream / "tests").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_the_whole_is_refused_only_for_what_is_not_there_yet(subset: Subset) -> None:
    other = [
        str(problem)
        for problem in subset.problems
        if "not supported in this version" not in problem.text and "does not exist" not in problem.text
    ]
    assert other == []
    assert len(subset.ruleset.rules) > 1000


NOT_COMPARED = {
    "su.ini": "its decoder needs fts",
    "ossec.ini": "the decoder of agents that start needs fts",
    "cisco_ios.ini": "expects what ossec-logtest does; the daemon rewrites a firewall's action first",
    "pix.ini": "the case file writes %% for %",
}


def test_events_are_answered_as_ossec_answers_them(subset: Subset, upstream: Path) -> None:
    ruleset = subset.ruleset
    ids = {rule.id for rule in ruleset.rules}
    compared, wrong = 0, []
    for case in cases(upstream):
        event = case["extra"]["upstream"]["events"][-1]
        if case["file"] in NOT_COMPARED or not ids.issuperset(map(int, event["rule_path"])):
            continue
        got = decoded(ruleset, LogLine("stdin", case["logs"][-1].encode(), 0, 0))
        rule = base(walk(ruleset, partial(_holds, got)))
        answer = (str(ruleset.rules[rule].id) if rule >= 0 else None, got.decoder_name)
        compared += 1
        if answer != (event["rule"], event["decoder"]):
            wrong.append((case["file"], case["case"], answer, (event["rule"], event["decoder"])))
    assert not wrong, wrong
    assert compared >= 165


def _holds(event: Event, condition: Condition) -> bool:
    return condition.holds(event)


def test_the_plan_says_the_same(subset: Subset, upstream: Path) -> None:
    plan: Plan = compile_plan(subset.ruleset)
    for case in cases(upstream):
        for text in case["logs"]:
            line = LogLine("stdin", text.encode(), 0, 0)
            expected, verdict = judge(subset.ruleset, line), plan.judge(plan.recognise(line))
            assert (None if verdict is None else verdict.residual) == (None if expected is None else expected.residual)
            if verdict is not None and expected is not None:
                assert verdict.event.fields == expected.event.fields
