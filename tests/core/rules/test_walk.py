from collections.abc import Callable

import pytest

from hids.core.decode.event import Origin
from hids.core.rules.rule import Ruleset
from hids.core.rules.walk import NO_RULE, Verdict, base, decoded, judge, matters, slots_of, walk
from hids.messages.evaluation import Residual
from hids.messages.lines import LogLine

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]


def residual(ruleset: Ruleset, line: LogLine) -> Residual:
    event = decoded(ruleset, line)
    return walk(ruleset, lambda condition: condition.holds(event))


def ids(ruleset: Ruleset, nodes: Residual) -> list[tuple[int, ...]]:
    """The nodes with rule ids for indexes."""
    named = [-1 if n[1] < 0 else ruleset.rules[n[1]].id % 1000 for n in nodes]
    parents = [n[2] if n[0] else (-1 if n[2] < 0 else ruleset.rules[n[2]].id % 1000) for n in nodes]
    return [(n[0], name, parent, n[3]) for n, name, parent in zip(nodes, named, parents, strict=True)]


DECODER = "<decoder name='app'><prematch>^app </prematch></decoder>"


def rules(*rows: tuple[int, int, str] | tuple[int, int, str, str]) -> str:
    """Rows of (id, level, body, attributes)."""
    written = "".join(
        f'<rule id="{200000 + row[0]}" level="{row[1]}" {"".join(row[3:])}>{row[2]}<description>d</description></rule>'
        for row in rows
    )
    return f'{DECODER}<group name="g,">{written}</group>'


def below(parent: int, match: str = "") -> str:
    return f"<if_sid>{200000 + parent}</if_sid>" + (f"<match>{match}</match>" if match else "")


WORKED = rules(
    (100, 0, "<decoded_as>app</decoded_as>"),
    (101, 5, below(100, "fail")),
    (102, 0, below(100, "heartbeat")),
    (103, 9, below(100, "fail disk")),
    (104, 3, below(101, "retry")),
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("fail", 101), ("fail disk", 103), ("fail retry", 104), ("fail disk heartbeat", 102), ("ok", 100)],
)
def test_the_languages_worked_example(make_ruleset: Make, make_line: Line, text: str, rule: int) -> None:
    ruleset = make_ruleset(WORKED)
    result = residual(ruleset, make_line("app " + text))
    assert ids(ruleset, result)[0][:2] == (0, rule)
    assert len(result) == 1


def test_no_rule(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(WORKED)
    assert residual(ruleset, make_line("other")) == NO_RULE
    assert judge(ruleset, decoded(ruleset, make_line("other"))) is None


def test_noalert_lets_the_search_go_on(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(
        rules(
            (100, 3, "<decoded_as>app</decoded_as>"),
            (101, 5, below(100, "aa"), 'noalert="yes"'),
            (102, 4, below(100, "aa")),
            (103, 4, below(101, "kk")),
        )
    )
    assert ids(ruleset, residual(ruleset, make_line("app aa"))) == [(0, 102, 100, 0)]
    assert ids(ruleset, residual(ruleset, make_line("app aa kk"))) == [(0, 103, 101, 0)]


def composite(count: int, body: str = "") -> str:
    return f"<if_matched_sid>{200000 + count}</if_matched_sid>{body}"


COMPOSITES = rules(
    (100, 3, "<decoded_as>app</decoded_as>"),
    (101, 10, composite(100), 'frequency="3"'),
    (102, 12, composite(100, "<match>zz</match>"), 'frequency="6"'),
    (103, 13, below(101, "worse")),
    (104, 4, below(100, "own")),
)


def test_a_composite_is_asked_and_both_answers_are_followed(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(COMPOSITES)
    assert ids(ruleset, residual(ruleset, make_line("app x"))) == [
        (1, 101, 1, 2),
        (0, 101, 100, 0),
        (0, 100, -1, 0),
    ]
    assert ids(ruleset, residual(ruleset, make_line("app own worse"))) == [
        (1, 101, 1, 2),
        (0, 103, 101, 0),
        (0, 104, 100, 0),
    ]


def test_two_composites_share_what_follows(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(COMPOSITES)
    assert ids(ruleset, residual(ruleset, make_line("app zz"))) == [
        (1, 102, 1, 2),
        (0, 102, 100, 0),
        (1, 101, 3, 4),
        (0, 101, 100, 0),
        (0, 100, -1, 0),
    ]


def test_a_noalert_composite_leads_to_the_same_place_either_way(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(
        rules(
            (100, 3, "<decoded_as>app</decoded_as>"),
            (101, 10, composite(100), 'frequency="3" noalert="yes"'),
        )
    )
    assert ids(ruleset, residual(ruleset, make_line("app x"))) == [(1, 101, 1, 1), (0, 100, -1, 0)]


def test_base_is_where_every_no_leads(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(COMPOSITES)
    assert ruleset.rules[base(residual(ruleset, make_line("app zz")))].id == 200100
    assert base(NO_RULE) == -1


def test_who_must_hear_of_an_event(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(
        rules(
            (100, 0, "<match>silent</match>"),
            (101, 3, "<match>quiet</match><options>no_log</options>"),
            (102, 3, "<match>fed</match><options>no_log</options>"),
            (103, 5, composite(102, "<match>never</match>"), 'frequency="3"'),
            (104, 3, "<match>loud</match>"),
        )
    )

    def heard(text: str) -> bool:
        return matters(ruleset, residual(ruleset, make_line(text)))

    assert [heard(t) for t in ("silent", "quiet", "fed", "loud", "none")] == [False, False, True, True, False]


def test_a_verdict_carries_the_slots_of_all_composites(make_ruleset: Make, make_line: Line) -> None:
    text = COMPOSITES.replace(
        "^app </prematch>", "^app </prematch><regex>^app (\\S+) (\\S*)</regex><order>srcip,srcuser</order>"
    )
    keyed = text.replace(
        "<if_matched_sid>200100</if_matched_sid>",
        "<if_matched_sid>200100</if_matched_sid><same_srcip/><same_user/><same_location/><same_id/>",
    )
    ruleset = make_ruleset(keyed)
    assert slots_of(ruleset).names == ("hostname", "id", "location", "srcip", "user")
    verdict = judge(ruleset, decoded(ruleset, make_line("app 192.0.2.7 joe"), Origin(b"web1")))
    assert isinstance(verdict, Verdict)
    assert verdict.slots == (b"web1", None, b"web1->/var/log/x", b"192.0.2.7", b"joe")


def test_ossecs_same_location_is_the_host(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(
        '<group name="g,"><rule id="100100" level="3"><match>x</match></rule><rule id="100101" level="9" frequency="2">'
        "<if_matched_sid>100100</if_matched_sid><same_location/></rule></group>",
        "ossec",
    )
    verdict = judge(ruleset, decoded(ruleset, make_line("Dec 29 10:00:01 web9 app: x")))
    assert verdict is not None
    assert verdict.slots == (b"web9",)


def test_a_question_with_nothing_behind_it_does_not_lead_back_to_itself(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset(
        '<group name="g"><rule id="200001" level="3"><match>x</match><check_diff/><description>d</description></rule></group>'
    )
    assert residual(ruleset, make_line("x")) == ((3, 0, 1, 2), (0, 0, -1, 0), (0, -1, -1, 0))
