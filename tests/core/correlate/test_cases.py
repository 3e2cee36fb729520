"""The rule language's micro-cases of composites and state, event by event as the real engines answered."""

from collections.abc import Callable
from typing import Any

import pytest

from hids.core.decode import decoder as decoder_module
from hids.core.decode import load as load_module
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import SourceFile
from hids.errors import RulesetError
from hids.manager.logtest import Logtest
from hids.messages.lines import LogLine

CATEGORIES = ("syslog", "firewall", "ids", "web-log", "squid", "windows", "ossec")
TEMPLATES = "".join(
    f'<group name="{category}"><rule id="{number}" level="0" noalert="1"><category>{category}</category>'
    f"<description>all {category} rules</description></rule></group>"
    for number, category in enumerate(CATEGORIES, 1)
)
STATEFUL = ("M083", "M084", "M085", "M087", *(f"M{number}" for number in range(100, 126)))
START_S = 1_000_000

Results = list[int | None]


def results(case: dict[str, Any], dialect: Dialect) -> Results | None:
    """Rule ids, event by event; None when the ruleset is refused."""
    text = case["decoders"][dialect] + case["rules"][dialect]
    files = [SourceFile("t.xml", TEMPLATES.encode()), SourceFile("r.xml", text.encode())]
    try:
        plan = compile_plan(load("test", dialect, files, correlation="compat"))
    except RulesetError as error:
        if "not supported in this version" in str(error):
            pytest.skip(str(error))
        return None
    test = Logtest([plan], "server", silences=False)
    at_s, found = START_S, Results()
    for given in case["inputs"]:
        agent, host, location, log = "000", None, "/l", given
        if isinstance(given, dict):
            location, log = given["location"], given["log"]
            agent, host = location[1:4], location.split("(")[1].split(")")[0]
        elif given.startswith("@time "):
            at_s = int(given.removeprefix("@time "))
            continue
        (told,) = test.test(LogLine(location, log.encode(), at_s * 1000, at_s * 1000), agent, host)
        rule = told["rule"]
        found.append(None if rule is None or rule["id"] < 10 else rule["id"])
    return found


@pytest.fixture(autouse=True)
def decoders_of_wazuh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoders of these cases mean the same in both dialects; where Wazuh's are not read yet, OSSEC's reader does it."""
    for tables in (load_module._LANGUAGES, decoder_module._ALIASES):
        if "wazuh" not in tables:
            monkeypatch.setitem(tables, "wazuh", tables["ossec"])


@pytest.fixture(scope="module")
def case_of(design: Any) -> Callable[[str], dict[str, Any]]:
    cases = {case["id"]: case for case in design["cases"]}
    return cases.__getitem__


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize("name", STATEFUL)
def test_as_upstream(case_of: Callable[[str], dict[str, Any]], name: str, dialect: Dialect):
    case = case_of(name)
    expected = case["expected"].get(dialect)
    if expected is None:
        pytest.skip(f"{name} is not a case of {dialect}")
    refused = expected == "load_error"
    assert results(case, dialect) == (None if refused else [event["rule"] for event in expected])
