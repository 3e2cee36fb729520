"""Logtest: the manager's own code on a state that is thrown away."""

from typing import Any

import msgspec

from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import SourceFile
from hids.manager.logtest import Logtest
from hids.messages.lines import LogLine
from hids.messages.terms import Correlation

RULES = """
<decoder name="demo">
  <prematch>^demo: </prematch>
</decoder>
<decoder name="demo-failed">
  <parent>demo</parent>
  <regex offset="after_parent">failed (\\S+) (\\S*)</regex>
  <order>srcip, id</order>
</decoder>
<group name="demo">
  <rule id="200001" level="5">
    <decoded_as>demo</decoded_as>
    <match>failed</match>
    <description>failed from $(srcip)</description>
  </rule>
  <rule id="200002" level="10" frequency="3" timeframe="60" ignore="60">
    <if_matched_sid>200001</if_matched_sid>
    <same_srcip />
    <description>many</description>
  </rule>
  <rule id="200003" level="0">
    <decoded_as>demo</decoded_as>
    <match>all is well</match>
    <description>nothing</description>
  </rule>
  <rule id="200004" level="4">
    <decoded_as>demo</decoded_as>
    <match>report</match>
    <check_diff />
    <description>changed</description>
  </rule>
</group>
"""


def plan(correlation: Correlation = "native") -> Plan:
    return compile_plan(load("demo", "hids", [SourceFile("r.xml", RULES.encode())], correlation=correlation))


def line(text: str, at_s: int = 0) -> LogLine:
    return LogLine("stdin", text.encode(), 10**12 + at_s * 1000, 10**12 + at_s * 1000)


def rule_of(test: Logtest, text: str, at_s: int = 0) -> Any:
    (told,) = test.test(line(text, at_s))
    return told["rule"]


def test_what_is_told_of_a_line():
    (told,) = Logtest([plan()], "here").test(line("demo: failed 192.0.2.1 7"))
    assert told == {
        "ruleset": "demo",
        "header": {"hostname": "here"},
        "log": "demo: failed 192.0.2.1 7",
        "decoder": "demo",
        "parent": "demo",
        "fields": {"srcip": "192.0.2.1", "id": "7"},
        "rule": {
            "id": 200001,
            "level": 5,
            "description": "failed from 192.0.2.1",
            "groups": ["demo"],
            "alert": True,
            "silenced": False,
            "counted": 0,
            "also": [],
        },
        "counting": [{"id": 200002, "have": 1, "of": 3, "timeframe_s": 60}],
        "missed": [],
    }


def test_time_is_that_of_the_lines():
    test = Logtest([plan()], "here")
    ids = [rule_of(test, "demo: failed 192.0.2.1 ", at)["id"] for at in (0, 30, 60, 61, 100, 121)]
    assert ids == [200001, 200001, 200002, 200001, 200001, 200002]


def test_reset_forgets_the_lines_and_keeps_the_plan():
    test = Logtest([plan()], "here")
    for _ in range(2):
        assert [rule_of(test, "demo: failed 192.0.2.1 ")["id"] for _ in range(3)] == [200001, 200001, 200002]
        test.reset()


def test_ignore_silences_as_in_the_manager_unless_it_is_not_wanted():
    for silences in (True, False):
        test = Logtest([plan()], "here", silences=silences)
        fired = [rule_of(test, "demo: failed 192.0.2.1 ") for _ in range(6)]
        assert [rule["id"] for rule in fired if rule["counted"]] == ([200002] if silences else [200002, 200002])
        spoken = [(rule["id"], rule["silenced"], rule["alert"]) for rule in (fired[5], *fired[5]["also"])]
        assert spoken == ([(200001, False, True), (200002, True, False)] if silences else [(200002, False, True)])


def test_silent_rules_are_named():
    rule = rule_of(Logtest([plan()], "here"), "demo: all is well")
    assert (rule["id"], rule["level"], rule["alert"]) == (200003, 0, False)
    assert rule_of(Logtest([plan()], "here"), "nothing known") is None


def test_the_log_before_a_changed_one_is_told():
    test = Logtest([plan()], "here")
    assert rule_of(test, "demo: report a") is None
    assert rule_of(test, "demo: report b")["previous_log"] == "demo: report a"


def test_events_of_one_transaction_lend_each_other_fields():
    ruleset = plan().ruleset
    roots = tuple(
        msgspec.structs.replace(
            root,
            accumulate=True,
            children=tuple(msgspec.structs.replace(child, accumulate=True) for child in root.children),
        )
        for root in ruleset.decoders.without_program
    )
    decoders = msgspec.structs.replace(ruleset.decoders, without_program=roots)
    test = Logtest([compile_plan(msgspec.structs.replace(ruleset, decoders=decoders))], "here")
    assert rule_of(test, "demo: failed 192.0.2.1 7")["id"] == 200001
    event = test.test(line("demo: failed 192.0.2.2 7"))[0]
    assert event["fields"]["srcip"] == "192.0.2.2"


def test_agents_and_their_names_are_the_callers_word():
    test = Logtest([plan("compat")], "here")
    (told,) = test.test(line("demo: x"), agent="003", host="web3")
    assert told["header"] == {"hostname": "web3"}


SEQUENCES = """
<decoder name="demo"><prematch>^demo: </prematch></decoder>
<group name="demo">
  <rule id="200001" level="3">
    <decoded_as>demo</decoded_as><match>stopped</match><description>stopped</description>
  </rule>
  <rule id="200002" level="3">
    <decoded_as>demo</decoded_as><match>started</match><description>started</description>
  </rule>
  <rule id="200003" level="9" timeframe="60">
    <if_matched_sid>200001</if_matched_sid><unless>200002</unless><description>stays stopped</description>
  </rule>
  <rule id="200004" level="8" timeframe="60">
    <if_matched_sid>200001</if_matched_sid><followed_by>200002</followed_by><description>restarted</description>
  </rule>
  <rule id="200005" level="4" frequency="3" timeframe="600">
    <if_matched_sid>200001</if_matched_sid><description>often stopped</description>
  </rule>
</group>
"""


def sequences() -> Logtest:
    return Logtest([compile_plan(load("demo", "hids", [SourceFile("r.xml", SEQUENCES.encode())]))], "here")


def test_what_did_not_come_is_told_with_the_next_line():
    test = sequences()
    test.test(line("demo: stopped", 0))
    (early,) = test.test(line("demo: other", 60))
    (later,) = test.test(line("demo: other", 61))
    assert early["missed"] == []
    assert [(rule["id"], rule["level"], rule["description"]) for rule in later["missed"]] == [
        (200003, 9, "stays stopped")
    ]


def test_time_passes_without_a_line():
    test = sequences()
    test.test(line("demo: stopped", 0))
    at_ms = line("", 61).at_ms
    assert [[rule["id"] for rule in rules] for rules in test.pass_time(at_ms)] == [[200003]]
    assert test.pass_time(at_ms) == [[]]


def test_one_after_another():
    test = sequences()
    assert rule_of(test, "demo: stopped", 0)["id"] == 200001
    assert rule_of(test, "demo: started", 5)["id"] == 200004
    assert [rule["id"] for rule in test.test(line("demo: other", 999))[0]["missed"]] == []
    assert rule_of(test, "demo: started", 1000)["id"] == 200002


def test_each_line_says_how_far_it_counts():
    test = sequences()
    for have in (1, 2):
        (told,) = test.test(line("demo: stopped", have))
        assert told["counting"] == [{"id": 200005, "have": have, "of": 3, "timeframe_s": 600}]
    assert test.test(line("demo: stopped", 3))[0]["counting"] == []
