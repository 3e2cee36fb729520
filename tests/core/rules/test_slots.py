from collections.abc import Callable

import pytest

from hids.core.decode.event import Origin
from hids.core.rules.rule import Ruleset
from hids.core.rules.walk import Verdict, decoded, judge, slots_of
from hids.messages.lines import LogLine

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]

DECODER = """<decoder name='d'><prematch>^a </prematch><regex>^a (\\S+) (\\S+)</regex>
<order>srcip,foo</order></decoder>"""


def slots(make: Make, line: Line, body: str, dialect: str, log: str = "a 192.0.2.7 x") -> dict[str, bytes | None]:
    first, second = ("200001", "200002") if dialect == "hids" else ("100001", "100002")
    ruleset = make(
        DECODER + f'<group name="g,"><rule id="{first}" level="3"><match>a</match><description>d</description></rule>'
        f'<rule id="{second}" level="9" frequency="3"><if_sid>{first}</if_sid>{body.format(first)}'
        "<description>d</description></rule></group>",
        dialect,
    )
    verdict = judge(ruleset, decoded(ruleset, line(log), Origin(b"web1")))
    assert isinstance(verdict, Verdict)
    return dict(zip(slots_of(ruleset).names, verdict.slots, strict=True))


@pytest.mark.parametrize(
    ("body", "dialect", "expected"),
    [
        ("<if_matched_sid>{}</if_matched_sid><same_field>foo</same_field>", "hids", {"field:foo": b"x"}),
        ("<if_matched_sid>{}</if_matched_sid><different_field>no</different_field>", "hids", {"field:no": None}),
        (
            "<if_matched_sid>{}</if_matched_sid><same_source_ip/><different_url/>",
            "ossec",
            {"srcip": b"192.0.2.7", "url": None},
        ),
        ("<if_matched_sid>{}</if_matched_sid><same_location/>", "ossec", {"hostname": b"web1"}),
        ("<if_matched_sid>{}</if_matched_sid><same_id/><not_same_id/>", "ossec", {"id": None}),
        ("<if_matched_regex>a</if_matched_regex>", "ossec", {"regex:0": b"1", "type": b"syslog"}),
        (
            "<if_matched_regex>b</if_matched_regex><same_location/>",
            "ossec",
            {"regex:0": None, "type": b"syslog", "hostname": b"web1"},
        ),
        (
            "<if_matched_sid>{}</if_matched_sid><same_agent/><distinct_srcip/>",
            "hids",
            {"agent": b"web1", "srcip": b"192.0.2.7"},
        ),
        (
            "<if_matched_sid>{}</if_matched_sid><check_diff/><ignore>name,user</ignore>",
            "ossec",
            {"decoder": b"d", "dstuser": None, "hostname": b"web1", "log": b"a 192.0.2.7 x"},
        ),
        (
            "<if_matched_sid>{}</if_matched_sid><check_if_ignored>location</check_if_ignored><if_fts/>",
            "ossec",
            {"fts": None, "fts_ids": None, "location": b"web1->/var/log/x"},
        ),
    ],
)
def test_what_the_lane_is_told(
    make_ruleset: Make, make_line: Line, body: str, dialect: str, expected: dict[str, bytes | None]
) -> None:
    assert slots(make_ruleset, make_line, body, dialect) == expected
