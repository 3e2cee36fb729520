"""The rule language's micro-cases, each with what OSSEC itself answered, event by event.

Cases with elements that this version does not have must be refused, not half understood. Results that need the past
are checked as far as the walk goes: the rule that OSSEC gave is among those that the residual leaves open.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import Ruleset
from hids.core.rules.walk import base, decoded, walk
from hids.errors import RulesetError
from hids.messages import LogLine

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]


def answers(ruleset: Ruleset, line: LogLine) -> tuple[Any, set[int | None]]:
    """Decoder and fields; ids of the rules that may be the event's. OSSEC tells no template as a result."""
    event = decoded(ruleset, line, b"server")
    residual = walk(ruleset, lambda condition: condition.holds(event))
    ends = {node[1] for node in residual if node[0] == 0}
    if not any(rule.window for rule in ruleset.rules):
        assert ends == {base(residual)}
    ids = {None if end < 0 or ruleset.rules[end].id < 10 else ruleset.rules[end].id for end in ends}
    fields = {name: value.decode("utf-8", "surrogateescape") for name, value in event.fields.items()}
    return (event.decoder_name, fields), ids


def outcome(case: dict[str, Any], make: Make, line: Line) -> str:
    expected = case["expected"]["ossec"]
    refused = ""
    try:
        ruleset = make(case["decoders"]["ossec"] + case["rules"]["ossec"], "ossec")
    except RulesetError as error:
        refused = str(error)
    if "not supported in this version" in refused:
        return "not supported"
    assert bool(refused) == (expected == "load_error"), (case["id"], refused)
    if refused:
        return "refused"
    plan = compile_plan(ruleset)
    for text, event in zip(case["inputs"], expected, strict=True):
        decoder, ids = answers(ruleset, line(text))
        assert decoder == (event["decoder"], event["fields"]), (case["id"], text)
        assert event["rule"] in ids, (case["id"], text)
        recognised = plan.recognise(line(text), b"server").event
        assert (recognised.decoder_name, len(recognised.fields)) == (event["decoder"], len(event["fields"]))
    return "composite" if any(rule.window for rule in ruleset.rules) else "exact"


def test_all_cases_of_ossec(design: Any, make_ruleset: Make, make_line: Line) -> None:
    cases = [case for case in design["cases"] if "ossec" in case["expected"]]
    counted = Counter(outcome(case, make_ruleset, make_line) for case in cases)
    assert counted == {"exact": 63, "composite": 16, "refused": 8, "not supported": 23}


@pytest.mark.parametrize("dialect", ["hids", "ossec"])
def test_an_unsupported_element_names_itself(make_ruleset: Make, dialect: str) -> None:
    identity = 200001 if dialect == "hids" else 100001
    text = f'<group name="g"><rule id="{identity}" level="3"><description>d</description><if_fts/></rule></group>'
    with pytest.raises(RulesetError, match="<if_fts> is not supported in this version"):
        make_ruleset(text, dialect)
