import json
from collections.abc import Callable

from hids.core.rules.rule import Ruleset
from hids.core.rules.table import rule_table
from hids.messages.rule_table import RuleRow, WindowSpec

Make = Callable[..., Ruleset]

TEXT = """<group name="g,">
<rule id="200001" level="8"><match>a</match><description>An "event"</description>
  <mitre><id>T1110</id></mitre><group>pci_dss_10.2.4,gdpr_IV,pci_dss_10.2.5,x</group></rule>
<rule id="200002" level="10" frequency="8" timeframe="120" ignore="60">
  <if_matched_sid>200001</if_matched_sid><same_srcip/><description>many</description></rule>
<rule id="200003" level="3"><match>b</match><description>c</description><options>no_log</options></rule>
</group>"""


def rule_of(row: RuleRow) -> dict[str, object]:
    result: dict[str, object] = json.loads(row.head + b'"firedtimes":3' + row.end)
    return result


def test_rows_are_the_rules_in_load_order(make_ruleset: Make) -> None:
    table = rule_table(make_ruleset(TEXT))
    assert (table.name, table.slots) == ("test", ("srcip",))
    assert [(r.id, r.level, r.feeds, r.ignore_ms, r.log) for r in table.rules] == [
        (200001, 8, (1,), 0, 0),
        (200002, 10, (), 60_000, 0),
        (200003, 3, (), 0, -1),
    ]
    assert table.rules[0].window is None
    assert table.rules[1].window == WindowSpec(needed=7, timeframe_ms=120_000, key=(0,), frequency=8)


def test_the_rule_object_is_wazuhs(make_ruleset: Make) -> None:
    table = rule_table(make_ruleset(TEXT))
    first = rule_of(table.rules[0])
    assert first == {
        "level": 8,
        "description": 'An "event"',
        "id": "200001",
        "mitre": {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]},
        "firedtimes": 3,
        "mail": True,
        "groups": ["g", "x"],
        "pci_dss": ["10.2.4", "10.2.5"],
        "gdpr": ["IV"],
    }
    assert list(first)[:5] == ["level", "description", "id", "mitre", "firedtimes"]
    second = rule_of(table.rules[1])
    assert list(second) == ["level", "description", "id", "frequency", "firedtimes", "mail", "groups"]
    assert second["frequency"] == 8


def identities(make: Make, text: str) -> list[str]:
    return [row.identity for row in rule_table(make(text)).rules]


def test_identity_is_what_gives_state_its_meaning(make_ruleset: Make) -> None:
    base = identities(make_ruleset, TEXT)
    assert identities(make_ruleset, TEXT.replace("many", "lots").replace('ignore="60"', 'ignore="5"')) == base
    for change in ('timeframe="120"', 'timeframe="60"'), ("<same_srcip/>", ""), ('frequency="8"', 'frequency="9"'):
        changed = identities(make_ruleset, TEXT.replace(*change))
        assert changed[1] != base[1]
        assert changed[0] == base[0]
    assert identities(make_ruleset, TEXT.replace("<match>a</match>", "<match>A</match>"))[0] != base[0]


def test_rules_may_say_that_they_are_no_reason_for_a_response(make_ruleset: Make) -> None:
    text = """<group name="g,">
    <rule id="200001" level="8"><match>a</match><description>a</description></rule>
    <rule id="200002" level="8"><match>b</match><description>b</description><options>no_ar</options></rule>
    </group>"""
    assert [row.responds for row in rule_table(make_ruleset(text)).rules] == [True, False]
    inaccurate = text.replace('level="8"><match>a', 'level="8" accuracy="0"><match>a').replace("2000", "1000")
    rows = rule_table(make_ruleset(inaccurate, dialect="ossec")).rules
    assert {row.id: row.responds for row in rows if row.id >= 100_000} == {100_001: False, 100_002: False}
