"""What composites count, as their elements say it: sequences, different values, and each dialect's options."""

from collections.abc import Callable

import pytest

from hids.core.rules.lint import lint
from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.table import rule_table
from hids.core.rules.trace import trace
from hids.core.rules.walk import decoded
from hids.messages.lines import LogLine
from hids.messages.rule_table import WindowSpec

Make = Callable[..., Ruleset]
Problems = Callable[..., list[str]]

BASES = "".join(
    f'<rule id="{number}" level="3"><match>m{number}</match><description>d</description></rule>'
    for number in (200001, 200002, 200003)
)


def ours(attributes: str, body: str) -> str:
    return f'<group name="g">{BASES}<rule id="200010" level="9" {attributes}>{body}<description>d</description></rule></group>'


def spec(ruleset: Ruleset, rule_id: int = 200010) -> WindowSpec:
    table = rule_table(ruleset)
    window = table.rules[ruleset.by_id[rule_id]].window
    assert window is not None
    return window


def slots(ruleset: Ruleset, numbers: tuple[int, ...]) -> list[str]:
    return [rule_table(ruleset).slots[number] for number in numbers]


def test_followed_by_hangs_under_both_ends_and_is_fed_by_them(make_ruleset: Make):
    body = "<if_matched_sid>200001</if_matched_sid><followed_by>200002, 200003</followed_by><same_srcip />"
    ruleset = make_ruleset(ours('timeframe="60"', body))
    window = spec(ruleset)
    assert (window.first, window.then, window.unless) == ((0,), (1, 2), False)
    assert (window.timeframe_ms, slots(ruleset, window.key)) == (60_000, ["srcip"])
    assert [[child.id for child in ruleset.children[base]] for base in range(3)] == [[200010]] * 3
    assert ruleset.feeds[:3] == ((3,), (3,), (3,))


def test_unless_waits_beside_the_tree_for_each_agent(make_ruleset: Make):
    body = "<if_matched_sid>200001</if_matched_sid><unless>200001,200002</unless>"
    ruleset = make_ruleset(ours('timeframe="60"', body))
    window = spec(ruleset)
    assert (window.first, window.then, window.unless, window.per_agent) == ((0,), (0, 1), True, True)
    assert all(rule.id != 200010 for rules in (ruleset.top, *ruleset.children) for rule in rules)
    assert ruleset.feeds[:3] == ((3,), (3,), ())


def test_global_frequency_lets_any_agent_end_what_one_began(make_ruleset: Make):
    body = "<if_matched_sid>200001</if_matched_sid><unless>200002</unless><global_frequency />"
    assert not spec(make_ruleset(ours('timeframe="60"', body))).per_agent


def test_distinct_values_and_agents(make_ruleset: Make):
    body = "<if_matched_group>g</if_matched_group><same_agent /><distinct_user /><distinct_field>x</distinct_field>"
    ruleset = make_ruleset(ours('frequency="4" timeframe="60"', body))
    window = spec(ruleset)
    assert (window.needed, slots(ruleset, window.key)) == (3, ["agent"])
    assert slots(ruleset, window.distinct) == ["field:x", "user"]


A = "<if_matched_sid>200001</if_matched_sid>"


@pytest.mark.parametrize(
    ("attributes", "body", "problem"),
    [
        ('timeframe="9"', A + "<followed_by>200002</followed_by><unless>200003</unless>", "not both; write two rules"),
        (
            'timeframe="9"',
            "<if_sid>200001</if_sid><followed_by>200002</followed_by>",
            "<followed_by> needs <if_matched",
        ),
        (
            'timeframe="9"',
            "<if_matched_group>g</if_matched_group><unless>200002</unless>",
            "<unless> needs <if_matched_sid> for what comes first",
        ),
        ('timeframe="9"', A + "<followed_by>200001</followed_by>", 'for "again" use frequency="2"'),
        ('frequency="3" timeframe="9"', A + "<unless>200002</unless>", "frequency has no meaning with <unless>"),
        ("", A + "<followed_by>200002</followed_by>", '<followed_by> needs timeframe="..."'),
        ('timeframe="9"', A + "<if_sid>200002</if_sid><unless>200002</unless>", "leave <if_...> out"),
        ('timeframe="9"', A + "<unless>200002</unless><match>x</match>", "put conditions into these"),
        ('timeframe="9"', A + "<unless>200009</unless>", "unless names rule 200009, which does not exist"),
        ('timeframe="9"', A + "<unless>x</unless>", "<unless> must be numbers"),
        ('frequency="3" timeframe="9"', A + "<global_frequency />", "<global_frequency /> is for <unless>"),
        ('timeframe="9"', A + "<followed_by>200002</followed_by><global_frequency />", "is for <unless>"),
        ('timeframe="9"', A + "<unless>200002</unless><same_agent /><global_frequency />", "contradict each other"),
        ('timeframe="9"', A + "<unless>200002</unless><distinct_user />", "go with a frequency"),
        ('frequency="3" timeframe="9"', A + "<distinct_user /><different_url />", "one kind of them in a rule"),
        ('frequency="3" timeframe="9"', A + "<distinct_nonsense />", "unknown element <distinct_nonsense>"),
        ("", "<if_sid>200001</if_sid><distinct_user />", "need <if_matched_sid>"),
    ],
)
def test_what_makes_no_sense_is_said(problems_of: Problems, attributes: str, body: str, problem: str):
    found = problems_of(ours(attributes, body))
    assert any(problem in each for each in found), found


@pytest.mark.parametrize("body", [A + "<unless>200002</unless>", A + "<followed_by>200002</followed_by>"])
def test_compatible_correlation_has_no_sequences(problems_of: Problems, body: str):
    (problem,) = problems_of(ours('timeframe="9"', body), correlation="compat")
    assert 'need correlation = "native"' in problem


@pytest.mark.parametrize("element", ["unless", "followed_by", "distinct_user"])
@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_upstreams_dialects_have_none_of_them(problems_of: Problems, dialect: str, element: str):
    text = (
        '<group name="g,"><rule id="100" level="3"><match>x</match><description>d</description></rule>'
        f'<rule id="101" level="9" frequency="3" timeframe="9"><if_matched_sid>100</if_matched_sid><{element}>100</{element}>'
        "<description>d</description></rule></group>"
    )
    assert any(f"unknown element <{element}>" in problem for problem in problems_of(text, dialect))


@pytest.mark.parametrize(
    ("option", "correlation", "different"),
    [
        ("<different_srcip />", "native", ["srcip"]),
        ("<not_same_source_ip />", "native", ["srcip"]),
        ("<not_same_user />", "native", ["dstuser"]),
        ("<not_same_id />", "native", ["id"]),
        ("<not_same_agent />", "native", ["hostname"]),
        ("<different_url />", "native", ["url"]),
        ("<different_srcip />", "compat", []),
        ("<not_same_user />", "compat", []),
        ("<different_url />", "compat", ["url"]),
    ],
)
def test_ossecs_options_mean_what_its_manual_says_unless_compatible(
    option: str, correlation: str, different: list[str], make_ruleset: Make
):
    text = (
        '<group name="g,"><rule id="100" level="3"><match>x</match><description>d</description></rule>'
        f'<rule id="101" level="9" frequency="3"><if_matched_sid>100</if_matched_sid>{option}'
        "<description>d</description></rule></group>"
    )
    ruleset = make_ruleset(text, "ossec", correlation=correlation)
    assert slots(ruleset, spec(ruleset, 101).different_present) == different


def test_a_changed_sequence_has_another_identity():
    identities = {
        rule_table(load("t", "hids", [SourceFile("r.xml", ours(f'timeframe="{span}"', A + body).encode())]))
        .rules[3]
        .identity
        for span, body in (
            (60, "<unless>200002</unless>"),
            (61, "<unless>200002</unless>"),
            (60, "<unless>200003</unless>"),
            (60, "<followed_by>200002</followed_by>"),
        )
    }
    assert len(identities) == 4


def test_lint_knows_that_time_reaches_what_waits(make_ruleset: Make):
    ruleset = make_ruleset(ours('timeframe="60"', A + "<unless>200002</unless>"))
    assert [finding for finding in lint(ruleset, lambda _: True) if finding.rule == 200010] == []


def test_trace_says_what_a_sequence_asks(make_ruleset: Make, make_line: Callable[..., LogLine]):
    ruleset = make_ruleset(ours('timeframe="60"', A + "<followed_by>200002</followed_by>"))
    steps = [step for step in trace(ruleset, decoded(ruleset, make_line("m200002"))) if step.outcome == "asks"]
    assert [(step.name, step.why) for step in steps] == [("200010", "the other event of the sequence came in time")]
