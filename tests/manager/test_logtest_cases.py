"""The rule language's micro-cases as a person would try them: one line after the other, with what came before them."""

from collections.abc import Iterator
from typing import Any

import pytest

from hids.core.rules.load import load
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import SourceFile
from hids.errors import RulesetError
from hids.manager.logtest import Logtest
from hids.messages.lines import LogLine
from hids.messages.terms import Correlation

CATEGORIES = ("syslog", "firewall", "ids", "web-log", "squid", "windows", "ossec")
TEMPLATES = "".join(
    f'<group name="{category}"><rule id="0{number}" level="0" noalert="1"><category>{category}</category>'
    f"<description>all {category} rules</description></rule></group>"
    for number, category in enumerate(CATEGORIES, 1)
)
FIRST_OWN_RULE = 10
START_S = 1_000_000

DEVIATIONS = {
    "ossec": {
        "M098": "three or more <list>",
        "M104": "reset after firing",
        "M110": "reset after firing: every window hears of every event",
        "M111": "reset after firing: an event counts once",
        "M114": "different_*, not_same_*",
        "M115": "different_*, not_same_*",
        "M116": "reset after firing: each composite counts for itself",
        "M122": "reset after firing",
    },
    "wazuh": {
        "M098": "three or more <list>",
        "M101": "frequency 2 (W)",
        "M103": "frequency 2 (W)",
        "M110": "reset after firing: every window hears of every event",
        "M111": "reset after firing: an event counts once",
        "M116": "reset after firing: each composite counts for itself",
    },
}
"""Cases that come out otherwise on purpose unless correlation is "compat": the row of the rule language's section 7, and how."""


def attempts(case: dict[str, Any]) -> Iterator[tuple[LogLine, str, str | None]]:
    """Line, agent and host."""
    at_ms = START_S * 1000
    for given in case["inputs"]:
        text, location, agent, host = given, "/var/log/x", "000", None
        if isinstance(given, dict):
            sender, _, location = given["location"].partition("->")
            text, agent, host = given["log"], sender[1:4], sender.partition("(")[2].partition(")")[0]
        elif given.startswith("@time "):
            at_ms = int(given.removeprefix("@time ")) * 1000
            continue
        yield LogLine(location, text.encode("utf-8", "surrogateescape"), at_ms, at_ms), agent, host


def agrees(case: dict[str, Any], dialect: str, correlation: Correlation) -> bool:
    expected = case["expected"][dialect]
    text = case["decoders"][dialect] + case["rules"][dialect]
    files = [SourceFile("t.xml", TEMPLATES.encode()), SourceFile("r.xml", text.encode())]
    lists = {name: content.encode() for name, content in case["lists"].items()}
    try:
        ruleset = load("t", dialect, files, lists, correlation=correlation, log_fw=False)
    except RulesetError:
        return bool(expected == "load_error")
    if expected == "load_error":
        return False
    logtest = Logtest([compile_plan(ruleset)], "server", silences=False)
    for (line, agent, host), answer in zip(attempts(case), expected, strict=True):
        (told,) = logtest.test(line, agent, host)
        rule = told["rule"]
        if rule is not None and rule["id"] < FIRST_OWN_RULE:
            rule = None
        got = (told["decoder"], rule and rule["id"], rule and rule["level"])
        if got != (answer["decoder"], answer["rule"], answer["level"]):
            return False
        if "description" in answer and (rule is None or rule["description"] != answer["description"]):
            return False
    return True


@pytest.mark.parametrize(("dialect", "count"), [("ossec", 110), ("wazuh", 124)])
def test_all_cases_with_correlation_as_it_was(design: Any, dialect: str, count: int) -> None:
    cases = [case for case in design["cases"] if dialect in case["expected"]]
    assert [case["id"] for case in cases if not agrees(case, dialect, "compat")] == []
    assert len(cases) == count


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_ours_differs_only_where_it_means_to(design: Any, dialect: str) -> None:
    cases = [case for case in design["cases"] if dialect in case["expected"]]
    differing = {case["id"] for case in cases if not agrees(case, dialect, "native")}
    assert differing == DEVIATIONS[dialect].keys()
