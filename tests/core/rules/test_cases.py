"""The rule language's micro-cases, each with what OSSEC or Wazuh itself answered, event by event.

Results that need the past are checked as far as the walk goes: the rule that upstream gave is among those that the
residual leaves open.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from hids.core.decode.event import Origin
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import Ruleset
from hids.core.rules.walk import base, decoded, finals, naive
from hids.errors import RulesetError
from hids.messages.evaluation import FINAL
from hids.messages.lines import LogLine

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]

MERGED = ("M023",)
"""Cases whose later lines get fields from earlier ones (accumulate), which is the lane's work."""

SHOWN_OTHERWISE = {
    ("ossec", "M024"): "ossec-logtest does not print a plug-in's fields",
    ("wazuh", "M023"): "fields of earlier lines",
    ("wazuh", "M027"): "a static and a dynamic field of one name: an alert shows the static one",
}


def lines(case: dict[str, Any], line: Line) -> list[LogLine]:
    """The case's inputs; the clock is of no interest to the walk."""
    found: list[LogLine] = []
    for given in case["inputs"]:
        if isinstance(given, dict):
            mapping = cast("dict[str, str]", given)
            found.append(line(mapping["log"], location=mapping["location"].partition("->")[2]))
        elif not given.startswith("@time "):
            found.append(line(given))
    return found


def open_rules(ruleset: Ruleset, residual: Any) -> set[int | None]:
    """Ids of the rules that may be the event's. Upstream tells no template as a result."""
    ends = {node[1] for node in residual if node[0] == FINAL}
    if not any(rule.asks for rule in ruleset.rules):
        assert ends == {base(residual)}
    return {None if end < 0 or ruleset.rules[end].id < 10 else ruleset.rules[end].id for end in ends}


def outcome(case: dict[str, Any], dialect: str, make: Make, line: Line) -> str:
    expected = case["expected"][dialect]
    lists = {name: text.encode() for name, text in case["lists"].items()}
    text = case["decoders"][dialect] + case["rules"][dialect]
    refused = ""
    try:
        ruleset = make(text, dialect, lists=lists, correlation="compat", log_fw=False)
    except RulesetError as error:
        refused = str(error)
    assert bool(refused) == (expected == "load_error"), (case["id"], refused)
    if refused:
        return "refused"
    plan = compile_plan(ruleset)
    for given, answer in zip(lines(case, line), expected, strict=True):
        event = decoded(ruleset, given, Origin(b"server"))
        residual = naive(ruleset, event)
        if case["id"] not in MERGED:
            assert answer["rule"] in open_rules(ruleset, residual), (case["id"], given.text)
        assert event.decoder_name == answer["decoder"], (case["id"], given.text)
        if (dialect, case["id"]) not in SHOWN_OTHERWISE:
            fields = {name: value.decode("utf-8", "surrogateescape") for name, value in event.fields.items()}
            assert fields == answer["fields"], (case["id"], given.text)
        if "description" in answer:
            (described,) = finals(ruleset, residual).described
            assert described.template is not None
            assert described.template.text(event).decode() == answer["description"]
        for _ in range(2):
            recognised = plan.recognise(given, Origin(b"server"))
            verdict = plan.judge(recognised)
            assert recognised.decoder_name == event.decoder_name
            assert verdict is None or verdict.residual == residual
    return "asking" if any(rule.asks for rule in ruleset.rules) else "exact"


@pytest.mark.parametrize(
    ("dialect", "results"),
    [
        ("ossec", {"exact": 77, "asking": 23, "refused": 10}),
        ("wazuh", {"exact": 86, "asking": 28, "refused": 10}),
    ],
)
def test_all_cases(design: Any, make_ruleset: Make, make_line: Line, dialect: str, results: dict[str, int]) -> None:
    cases = [case for case in design["cases"] if dialect in case["expected"]]
    assert Counter(outcome(case, dialect, make_ruleset, make_line) for case in cases) == results
