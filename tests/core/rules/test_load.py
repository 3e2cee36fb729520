from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile
from hids.errors import ConfigError, Problem, RulesetError

Make = Callable[..., Ruleset]
Problems = Callable[..., list[str]]


def rule(number: int, body: str = "", **attributes: object) -> str:
    named = {"level": 5} | attributes
    shown = " ".join(f'{name}="{value}"' for name, value in named.items())
    return f'<rule id="{number}" {shown}>{body}<description>rule {number}</description></rule>\n'


def group(*rules: str, name: str = "g,") -> str:
    return f'<group name="{name}">\n{"".join(rules)}</group>\n'


def children(ruleset: Ruleset, rule_id: int) -> list[int]:
    (index,) = (r.index for r in ruleset.rules if r.id == rule_id)
    return [child.id for child in ruleset.children[index]]


def feeds(ruleset: Ruleset, rule_id: int) -> list[int]:
    (index,) = (r.index for r in ruleset.rules if r.id == rule_id)
    return [ruleset.rules[c].id for c in ruleset.feeds[index]]


def test_siblings_stand_level_0_first_then_by_level_then_in_load_order(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(rule(200001, level=4), rule(200002, level=7), rule(200003, level=7), rule(200004, level=0))
    )
    assert [r.id for r in ruleset.top] == [200004, 200002, 200003, 200001]


def test_if_sid_hangs_a_rule_under_each(make_ruleset: Make) -> None:
    ruleset = make_ruleset(group(rule(200001), rule(200002), rule(200003, "<if_sid>200001, 200002</if_sid>")))
    assert [r.id for r in ruleset.top] == [200001, 200002]
    assert children(ruleset, 200001) == children(ruleset, 200002) == [200003]
    assert len(ruleset.rules) == 3


def test_ossecs_rules_hang_under_the_template_of_their_category(make_ruleset: Make) -> None:
    ruleset = make_ruleset(group(rule(100100), rule(100101, "<category>ids</category>")), "ossec")
    assert [r.id for r in ruleset.top] == [1, 2, 3, 4, 5, 6, 7]
    assert children(ruleset, 1) == [100100]
    assert children(ruleset, 3) == [100101]


def test_ossecs_glued_texts(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(rule(100100, "<group>foo,</group>"), rule(100101, "<if_group>gfoo</if_group>"), name="g")
        + group(rule(100102, "<if_sid>100</if_sid><if_sid>100</if_sid>")),
        "ossec",
    )
    assert children(ruleset, 100100) == [100101, 100102]


def test_ossecs_if_level_hangs_under_level_0_too(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(rule(100100, level=0), rule(100101, level=3), rule(100102, "<if_level>4</if_level>")), "ossec"
    )
    assert children(ruleset, 100100) == [100102]
    assert children(ruleset, 100101) == []


def test_if_group_of_ours_compares_whole_names(make_ruleset: Make, problems_of: Problems) -> None:
    named = rule(200001, "<group>web,attack</group>")
    ruleset = make_ruleset(group(named, rule(200002, "<if_group>attack</if_group>"), name="a"))
    assert children(ruleset, 200001) == [200002]
    assert ruleset.rules[0].groups == ("a", "web", "attack")
    assert "finds no rule" in problems_of(group(named, rule(200002, "<if_group>att</if_group>")))[0]


COMPOSITE = "<if_matched_sid>{}</if_matched_sid>"


def test_a_composite_hangs_under_what_it_counts_and_is_fed_by_it(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(
            rule(200001),
            rule(200002, COMPOSITE.format(200001), frequency=8, timeframe=120, level=10),
            rule(200003, COMPOSITE.format(200002), frequency=3, level=12),
        )
    )
    window = ruleset.rules[1].window
    assert window is not None
    assert (window.needed, window.timeframe_s, window.frequency) == (7, 120, 8)
    assert ruleset.rules[2].window is not None
    assert ruleset.rules[2].window.timeframe_s == 360
    assert children(ruleset, 200001) == [200002]
    assert feeds(ruleset, 200001) == [200002]
    assert feeds(ruleset, 200002) == [200003]
    assert feeds(ruleset, 200003) == []


@pytest.mark.parametrize(("attributes", "needed"), [({"frequency": 4}, 5), ({"frequency": 0}, 1), ({}, 1)])
def test_ossec_fires_two_events_later_than_written(make_ruleset: Make, attributes: dict[str, int], needed: int) -> None:
    ruleset = make_ruleset(group(rule(100100), rule(100101, COMPOSITE.format(100100), **attributes)), "ossec")
    assert ruleset.rules[-1].window is not None
    assert ruleset.rules[-1].window.needed == needed


def test_a_group_composite_of_ours_hears_of_later_rules_but_never_of_itself(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(
            rule(200001),
            rule(200002, "<if_matched_group>g</if_matched_group>", frequency=3, level=10),
            rule(200003, "<if_matched_group>g</if_matched_group>", frequency=9, level=12),
            rule(200004, "<if_sid>200002</if_sid>"),
            rule(200005),
        )
    )
    assert children(ruleset, 200001) == [200003, 200002]
    assert children(ruleset, 200005) == [200003, 200002]
    assert children(ruleset, 200002) == [200003, 200004]
    assert children(ruleset, 200003) == []
    assert children(ruleset, 200004) == [200003]
    assert feeds(ruleset, 200001) == feeds(ruleset, 200005) == [200002, 200003]
    assert feeds(ruleset, 200002) == [200003]


def test_a_group_composite_of_ossec_hears_of_earlier_rules_only(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(rule(100100), rule(100101, "<if_matched_group>g</if_matched_group>", level=10), rule(100102)), "ossec"
    )
    assert feeds(ruleset, 100100) == [100101]
    assert feeds(ruleset, 100102) == []


def test_level_0_feeds_nothing_and_a_level_0_composite_of_ossec_never_fires(make_ruleset: Make) -> None:
    ruleset = make_ruleset(
        group(
            rule(100100, level=0),
            rule(100101, COMPOSITE.format(100100)),
            rule(100102, COMPOSITE.format(100101), level=0),
        ),
        "ossec",
    )
    assert feeds(ruleset, 100100) == []
    assert feeds(ruleset, 100101) == []
    assert children(ruleset, 100101) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (group(rule(200001), rule(200001)), "r.xml:3: rule 200001: id is already used at r.xml:2; choose another"),
        (group(rule(200001, "<if_sid>200009</if_sid>")), "if_sid names rule 200009, which does not exist"),
        (
            group(rule(200001, "<if_sid>200002</if_sid>"), rule(200002)),
            "if_sid names rule 200002, which is loaded later; move it before this rule",
        ),
        (group(rule(200001, "<if_sid>200001</if_sid>")), "if_sid names rule 200001, which does not exist"),
        (group(rule(200001, COMPOSITE.format(200009), frequency=3)), "if_matched_sid names rule 200009"),
        (
            group(rule(200001, "<if_matched_group>no</if_matched_group>", frequency=3)),
            "rule 200001: if_matched_group 'no' finds no rule",
        ),
        (group(rule(200001, "<decoded_as>no</decoded_as>")), "the decoder 'no', which does not exist"),
        (f"<group>{rule(200001)}</group>", 'expected <group name="...">, got no name'),
        ("<group name='g'><match>x</match></group>", "expected <rule> in a <group>, got <match>"),
        ("<root></root>", "expected <group>, <decoder> or <var>, got <root>"),
    ],
)
def test_what_is_wrong_is_said(problems_of: Problems, text: str, problem: str) -> None:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_all_problems_of_all_files_come_together() -> None:
    files = [
        SourceFile("b.xml", b'<group name="g"><rule id="1" level="99"/></group>'),
        SourceFile("a.xml", b"<decoder name='d'/>\n<nope>"),
    ]
    with pytest.raises(RulesetError) as caught:
        load("n", "hids", files)
    assert [p.file for p in caught.value.problems] == sorted(p.file for p in caught.value.problems)
    assert len(caught.value.problems) >= 5


@pytest.mark.parametrize(
    "rows",
    [
        [rule(200001, "<if_sid>200000</if_sid>")]
        + [rule(n, f"<if_sid>{n - 1}</if_sid>") for n in range(200002, 200120)],
        [rule(n, "<if_matched_sid>200000</if_matched_sid>", frequency=3) for n in range(200001, 200120)],
    ],
)
def test_a_tree_to_get_lost_in_is_refused(problems_of: Problems, rows: list[str]) -> None:
    (problem,) = problems_of(group(rule(200000), *rows))
    assert "more than 100 rules nest or let the search go on above it" in problem


def test_a_category_needs_its_template() -> None:
    files = [SourceFile("r.xml", group(rule(100100)).encode())]
    with pytest.raises(RulesetError, match="load the file with rules 1 to 9 before this one"):
        load("n", "ossec", files)


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(ConfigError, match="dialect must be one of ossec, wazuh, hids, got 'snort'"):
        load("n", "snort", [])


def test_the_hash_names_dialect_name_and_content() -> None:
    def hashed(name: str, dialect: str, *texts: bytes) -> str:
        return load(name, dialect, [SourceFile(f"{i}.xml", text) for i, text in enumerate(texts)]).hash

    base = hashed("a", "hids", b"<!-- 1 -->")
    assert base == hashed("a", "hids", b"<!-- 1 -->")
    assert len(base) == 16
    others = {
        hashed("b", "hids", b"<!-- 1 -->"),
        hashed("a", "ossec", b"<!-- 1 -->"),
        hashed("a", "hids", b"<!-- 2 -->"),
        hashed("a", "hids", b"<!-- 1 -->", b""),
    }
    assert len(others | {base}) == 5


WORDS = st.sampled_from(
    [
        "<group name='g'>",
        "</group>",
        "<rule id='200001' level='3'>",
        "<rule id='200002' level='0'>",
        "</rule>",
        "<match>a</match>",
        "<description>d</description>",
        "<if_sid>200001</if_sid>",
        "<if_matched_sid>200001</if_matched_sid>",
        "<srcip>x</srcip>",
        "<rule id='200003' level='5' frequency='3'>",
        "<same_srcip/>",
        "<regex>(</regex>",
        "<if_group>g</if_group>",
        "<options>",
    ]
)


def loads_or_says_why(dialect: str, text: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load("n", dialect, [SourceFile("r.xml", text)])
    except RulesetError as error:
        problems = error.problems or (Problem("", 0, "no reason given"),)
    assert all(problem.file == "r.xml" for problem in problems)


@given(st.lists(WORDS, max_size=16), st.sampled_from(["ossec", "wazuh", "hids"]))
def test_any_elements_give_a_ruleset_or_problems(words: list[str], dialect: str) -> None:
    loads_or_says_why(dialect, "".join(words).encode())


@given(st.binary(max_size=120))
def test_any_bytes_give_a_ruleset_or_problems(text: bytes) -> None:
    loads_or_says_why("hids", text)
