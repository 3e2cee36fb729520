from collections.abc import Callable

import pytest

from hids.core.pattern.pattern import Pattern
from hids.core.rules.composite import Likeness, Source, Window
from hids.core.rules.conditions import (
    AddressIn,
    DynamicMatches,
    FieldEquals,
    FieldMatches,
    Hostname,
    LogMatches,
    ProgramName,
)
from hids.core.rules.rule import Rule, Ruleset

Make = Callable[..., Ruleset]
Problems = Callable[..., list[str]]
DESCRIPTION = "<description>d</description>"


def text(body: str, attributes: str = 'id="200001" level="5"') -> str:
    return f'<group name="g,">\n<rule {attributes}>\n{body}</rule></group>'


def only(make: Make, body: str, dialect: str = "hids", attributes: str = "") -> Rule:
    identity = 'id="200001"' if dialect == "hids" else 'id="100100"'
    return make(text(body + DESCRIPTION, f'{identity} level="5" {attributes}'), dialect).rules[-1]


def test_conditions_stand_in_the_languages_order(make_ruleset: Make) -> None:
    rule = only(
        make_ruleset,
        "<status>s</status><hostname>h</hostname><user>u</user><srcip>10.0.0.0/8</srcip><url>l</url><regex>r</regex>"
        "<match>m</match><id>i</id><program_name>p</program_name><field name='x'>f</field><srcip>!1.2.3.4</srcip>",
    )
    assert [type(c) for c in rule.conditions] == [
        ProgramName,
        FieldMatches,
        LogMatches,
        LogMatches,
        FieldMatches,
        FieldMatches,
        AddressIn,
        FieldMatches,
        Hostname,
        FieldMatches,
    ]
    assert rule.conditions[2] == LogMatches(Pattern("pcre2", b"m"))
    assert rule.conditions[7] == FieldMatches(("dstuser", "srcuser"), Pattern("pcre2", b"u"))


def test_ours_tests_static_fields_by_field_too(make_ruleset: Make) -> None:
    rule = only(make_ruleset, "<field name='srcip'>^1</field><field name='user'>x</field>")
    assert [c.names for c in rule.conditions if isinstance(c, FieldMatches)] == [("srcip",), ("dstuser", "srcuser")]


def test_ossecs_forms(make_ruleset: Make) -> None:
    rule = only(
        make_ruleset,
        "<match>m</match><match_pcre2>x</match_pcre2><pcre2>p</pcre2><url>a</url><url_pcre2>b</url_pcre2>"
        "<action>drop</action><field name='Foo'>f</field>",
        "ossec",
    )
    assert rule.conditions == (
        LogMatches(Pattern("os_match", b"m")),
        LogMatches(Pattern("pcre2-caseless", b"p")),
        FieldEquals("action", b"drop"),
        FieldMatches(("url",), Pattern("os_match", b"a")),
        FieldMatches(("url",), Pattern("pcre2-caseless", b"b")),
        DynamicMatches("foo", Pattern("os_regex", b"f")),
    )


def test_options_and_what_alerts_say(make_ruleset: Make) -> None:
    rule = only(
        make_ruleset,
        "<options>alert_by_email, no_log</options><mitre><id>T1110</id><id>T1110.001</id></mitre>"
        "<group>pci_dss_10.2,x</group><info type='link'>see</info>",
    )
    assert (rule.mail, rule.log, rule.mitre) == (True, -1, ("T1110", "T1110.001"))
    assert rule.groups == ("g", "pci_dss_10.2", "x")
    assert only(make_ruleset, "").mail is False
    loud = make_ruleset(text(DESCRIPTION, 'id="200001" level="7"')).rules[0]
    assert (loud.mail, loud.log) == (True, 0)


def test_noalert(make_ruleset: Make) -> None:
    assert only(make_ruleset, "", "ossec", 'noalert="0"').noalert
    assert not only(make_ruleset, "", "hids", 'noalert="no"').noalert
    assert only(make_ruleset, "", "hids", 'noalert="yes"').noalert


def test_ossec_cuts_numbers(make_ruleset: Make) -> None:
    rule = make_ruleset(text("", 'id="1001001" level="17"'), "ossec").rules[-1]
    assert (rule.id, rule.level, rule.description) == (100100, 17, "")


def test_a_window(make_ruleset: Make) -> None:
    first = '<group name="g"><rule id="200001" level="3"><description>d</description></rule></group>'
    second = (
        "<if_matched_sid>200001</if_matched_sid><same_source_ip/><same_location/><description>d</description>",
        'id="200002" level="10" frequency="8" timeframe="120" ignore="60"',
    )
    rule = make_ruleset(first + text(*second)).rules[-1]
    assert rule.ignore_s == 60
    assert rule.window == Window(
        source=Source(sid=200001),
        frequency=8,
        needed=7,
        timeframe_s=120,
        like=Likeness(same=("hostname", "location", "srcip")),
        per_agent=False,
    )


@pytest.mark.parametrize(
    ("body", "attributes", "problem"),
    [
        (DESCRIPTION, 'level="5"', 'r.xml:2: expected id="..."; add it'),
        (DESCRIPTION, 'id="200001"', 'expected level="..."; add it'),
        (DESCRIPTION, 'id="5" level="5"', "id must be 200000 to 299999, got 5"),
        (DESCRIPTION, 'id="200001" level="17"', "level must be 0 to 16, got 17"),
        (DESCRIPTION, 'id="200001" level="x"', "level must be a number, got 'x'"),
        (DESCRIPTION, 'id="200001" level="5" color="red"', "unknown attribute color of <rule>"),
        (DESCRIPTION, 'id="200001" level="5" overwrite="yes"', "overwrite names a rule that is not loaded before it"),
        (DESCRIPTION, 'id="200001" level="5" overwrite="maybe"', "overwrite must be yes or no, got 'maybe'"),
        (DESCRIPTION, 'id="200001" level="5" maxsize="big"', "maxsize must be a number, got 'big'"),
        (DESCRIPTION, 'id="200001" level="5" accuracy="0"', "unknown attribute accuracy of <rule>"),
        (DESCRIPTION, 'id="200001" level="5" ignore="0"', "ignore must be 1 to 999999, got 0"),
        (DESCRIPTION, 'id="200001" level="5" noalert="maybe"', "noalert must be yes or no"),
        (
            DESCRIPTION,
            'id="200001" level="5" frequency="3"',
            "frequency needs <if_matched_sid>, <if_matched_group> or <if_matched_regex>",
        ),
        (
            DESCRIPTION,
            'id="200001" level="5" timeframe="3"',
            "timeframe needs <if_matched_sid>, <if_matched_group> or <if_matched_regex>",
        ),
    ],
)
def test_attributes_that_are_wrong(problems_of: Problems, body: str, attributes: str, problem: str) -> None:
    problems = problems_of(text(body, attributes))
    assert any(problem in p for p in problems), problems


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<colour>x</colour>", "r.xml:3: rule 200001: unknown element <colour>"),
        ("<list field='srcip'>x</list>", "the list 'x' is not there"),
        ("<list>x</list>", 'expected <list field="...">'),
        ("<list field='srcip' lookup='near'>x</list>", "lookup must be one of match_key,"),
        ("<time>noon</time>", "a time looks like 18:00 - 8:30 or 6 pm - 8:30 am, got 'noon'"),
        ("<weekday>someday</weekday>", "a day is monday to sunday, weekdays or weekends, got 'someday'"),
        ("<compiled_rule>x</compiled_rule>", "compiled_rule must be one of check_id_size,"),
        ("<ignore>url</ignore>", "<ignore> must be of name, id, user,"),
        ("<match negate='perhaps'>x</match>", "negate must be yes or no, got 'perhaps'"),
        ("<match type='pcre2'>x</match>", "unknown attribute type of <match>"),
        ("<match_pcre2>x</match_pcre2>", "unknown element <match_pcre2>"),
        ("<match>(</match>", "<match>: pattern (: compilation failed"),
        ("<match>a</match><match>b</match>", "<match> is given twice; keep one"),
        ("<srcip>web1</srcip>", "<srcip> must be an address or a network like 192.0.2.0/24, got 'web1'"),
        ("<field>x</field>", 'expected <field name="...">'),
        ("<if_sid>a</if_sid>", "<if_sid> must be numbers with commas between them, got 'a'"),
        (
            "<options>fast</options>",
            "<options> may be alert_by_email, no_email_alert, log_alert, no_log, no_ar, no_full_log, no_counter, got 'fast'",
        ),
        ("<mitre><id>X1</id></mitre>", "<mitre> holds <id>s like T1110"),
        ("<same_srcip/>", "same_* and different_* need <if_matched_sid>"),
        ("<category>syslog</category>", "unknown element <category>"),
    ],
)
def test_elements_that_are_wrong(problems_of: Problems, body: str, problem: str) -> None:
    problems = problems_of(text(body + DESCRIPTION))
    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_ours_needs_a_description(problems_of: Problems) -> None:
    assert "needs a <description>" in problems_of(text(""))[0]


def test_composites_that_are_wrong(problems_of: Problems) -> None:
    two = "<if_matched_sid>200001</if_matched_sid><if_matched_group>g</if_matched_group>" + DESCRIPTION
    before = '<group name="g"><rule id="200001" level="3"><description>d</description></rule></group>'

    def problems(attributes: str) -> list[str]:
        return problems_of(before + text(two, 'id="200002" ' + attributes))

    assert "a composite counts one rule, one group or one regex" in problems('level="5" frequency="3"')[0]
    assert any("composite of level 0 never fires" in p for p in problems('level="0" frequency="3"'))
    assert any('expected frequency="..."' in p for p in problems('level="5"'))
    assert any("frequency must be 2 to 9999, got 1" in p for p in problems('level="5" frequency="1"'))


def test_ossec_refuses_frequency_without_a_past(problems_of: Problems) -> None:
    assert (
        "frequency needs <if_matched_sid>" in problems_of(text("", 'id="100100" level="3" frequency="3"'), "ossec")[0]
    )
