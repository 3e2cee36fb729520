from collections.abc import Callable
from pathlib import Path

import pytest

from hids.core.pattern.emptiness import can_match
from hids.core.rules.lint import lint
from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile

Make = Callable[..., Ruleset]

DECODERS = """
<decoder name="a"><program_name>^a$</program_name></decoder>
<decoder name="a1"><parent>a</parent><regex>ip (\\S+)</regex><order>srcip</order></decoder>
<decoder name="b"><program_name>^b$</program_name></decoder>
"""


def rule(number: int, inner: str, attributes: str = "") -> str:
    return f'<rule id="{200000 + number}" level="3" {attributes}>{inner}<description>d{number}</description></rule>'


def found(make_ruleset: Make, *rules: str) -> list[tuple[int, str]]:
    ruleset = make_ruleset(DECODERS + f'<group name="g">{"".join(rules)}</group>')
    return [(finding.rule - 200000, finding.kind) for finding in lint(ruleset, can_match)]


A = rule(1, "<decoded_as>a</decoded_as>")


def test_nothing_odd(make_ruleset: Make) -> None:
    assert found(make_ruleset, A, rule(2, "<if_sid>200001</if_sid><srcip>192.0.2.1</srcip>")) == []


def test_what_no_event_reaches_and_all_below_it(make_ruleset: Make) -> None:
    assert found(
        make_ruleset,
        A,
        rule(2, "<if_sid>200001</if_sid><decoded_as>b</decoded_as>"),
        rule(3, "<if_sid>200002</if_sid><match>x</match>"),
    ) == [(2, "unreachable"), (3, "unreachable")]


def test_a_field_that_no_decoder_of_that_way_gives(make_ruleset: Make) -> None:
    assert found(
        make_ruleset,
        rule(1, "<decoded_as>b</decoded_as>"),
        rule(2, "<if_sid>200001</if_sid><srcip>192.0.2.1</srcip>"),
        rule(3, "<if_sid>200001</if_sid><srcip>!192.0.2.1</srcip><match>x</match>"),
    ) == [(2, "missing field"), (3, "missing field")]


def test_shadowed_and_duplicate(make_ruleset: Make) -> None:
    assert found(
        make_ruleset,
        A,
        rule(2, "<if_sid>200001</if_sid><match>x</match>"),
        rule(3, "<if_sid>200001</if_sid><match>x</match><srcip>192.0.2.1</srcip>"),
        rule(4, "<if_sid>200001</if_sid><match>x</match>"),
        rule(5, "<if_sid>200001</if_sid><match>y</match>"),
    ) == [(3, "shadowed"), (4, "duplicate")]


def test_a_rule_that_lets_others_try_shadows_nothing(make_ruleset: Make) -> None:
    silent = rule(2, "<if_sid>200001</if_sid><match>x</match>", 'noalert="yes"')
    assert found(make_ruleset, A, silent, rule(3, "<if_sid>200001</if_sid><match>x</match>")) == []


def test_a_higher_level_goes_first(make_ruleset: Make) -> None:
    wide = rule(2, "<if_sid>200001</if_sid><match>x</match>")
    narrow = rule(3, "<if_sid>200001</if_sid><match>x</match><match>y</match>").replace('level="3"', 'level="9"')
    narrow = narrow.replace("<match>y</match>", "<hostname>h</hostname>")
    assert found(make_ruleset, A, wide, narrow) == []


def test_a_pattern_that_never_matches(make_ruleset: Make) -> None:
    assert found(make_ruleset, A, rule(2, "<if_sid>200001</if_sid><match>x\\Ay</match>")) == [(2, "never matches")]


@pytest.mark.parametrize(
    ("dialect", "element", "kinds"),
    [
        ("wazuh", "<match>fä</match>", ["beyond ASCII"]),
        ("wazuh", '<regex negate="yes">fä</regex>', ["beyond ASCII"]),
        ("wazuh", '<match type="pcre2">fä</match>', []),
        ("ossec", "<match>fä</match>", []),
        ("ossec", '<list field="srcip" lookup="not_match_key">rules/gone</list>', ["missing list"]),
    ],
)
def test_what_means_something_else_or_nothing_upstream(
    make_ruleset: Make, dialect: str, element: str, kinds: list[str]
) -> None:
    below = f'<rule id="101" level="3"><if_sid>100</if_sid>{element}<description>d</description></rule>'
    top = '<rule id="100" level="3"><decoded_as>a</decoded_as><description>d</description></rule>'
    ruleset = make_ruleset(f'{DECODERS}<group name="g,">{top}{below}</group>', dialect)
    assert [finding.kind for finding in lint(ruleset, can_match) if finding.rule == 101] == kinds


def test_one_key_for_the_fleet(make_ruleset: Make) -> None:
    composite = 'frequency="3" timeframe="60"'
    assert found(
        make_ruleset,
        A,
        rule(2, "<if_matched_sid>200001</if_matched_sid>", composite),
        rule(3, "<if_matched_sid>200001</if_matched_sid><same_source_ip/>", composite),
    ) == [(2, "one key")]


def test_what_is_never_new(make_ruleset: Make) -> None:
    assert found(make_ruleset, rule(1, "<if_fts />")) == [(1, "never new")]
    decoder = '<decoder name="c"><prematch>^user</prematch><regex>user (\\S+)</regex><order>color</order><fts>name, color</fts></decoder>'
    ruleset = make_ruleset(f'{decoder}<group name="g">{rule(1, "<if_fts />")}</group>')
    assert lint(ruleset, can_match) == []


def test_no_description(make_ruleset: Make) -> None:
    text = '<group name="g,"><rule id="100" level="3"><match>x</match></rule></group>'
    ruleset = make_ruleset(text, "ossec")
    assert [(f.rule, f.kind) for f in lint(ruleset, can_match) if f.rule == 100] == [(100, "no description")]


def test_our_own_rules_are_clean() -> None:
    folder = Path(__file__).parents[3] / "rules"
    files = [SourceFile(path.name, path.read_bytes()) for path in sorted(folder.glob("*.xml"))]
    kinds = {finding.kind for finding in lint(load("own", "hids", files), can_match)}
    assert kinds <= {"one key"}
