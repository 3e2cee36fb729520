from collections.abc import Callable

from hids.core.rules.rule import Ruleset
from hids.core.rules.trace import Step, describe, trace
from hids.core.rules.walk import decoded
from hids.messages.lines import LogLine

TEXT = """
<decoder name="other"><program_name>^other$</program_name></decoder>
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-a"><parent>app</parent><prematch>^A </prematch></decoder>
<decoder name="app-b"><parent>app</parent><prematch>^B </prematch><regex>u=(\\w+)</regex><order>srcuser</order></decoder>
<group name="g">
  <rule id="200100" level="3"><decoded_as>other</decoded_as><description>d</description></rule>
  <rule id="200101" level="3"><decoded_as>app</decoded_as><description>d</description></rule>
  <rule id="200102" level="5"><if_sid>200101</if_sid><user>^root$</user><description>d</description></rule>
  <rule id="200103" level="4"><if_sid>200101</if_sid><match>u=</match><description>d</description></rule>
  <rule id="200104" level="2"><if_sid>200101</if_sid><match>never tried</match><description>d</description></rule>
  <rule id="200105" level="9" frequency="3" timeframe="60">
    <if_matched_sid>200103</if_matched_sid><same_user/><description>d</description>
  </rule>
</group>
"""


def test_each_try_with_the_first_condition_that_failed(make_ruleset: Callable[..., Ruleset]) -> None:
    ruleset = make_ruleset(TEXT)
    event = decoded(ruleset, LogLine("x", b"Dec 29 10:00:01 h app: B u=joe", 0, 0), b"h")
    assert trace(ruleset, event) == [
        Step("decoder", "other", 0, "no", "program_name ^other$"),
        Step("decoder", "app", 0, "yes"),
        Step("decoder", "app-a", 1, "no", "prematch ^A "),
        Step("decoder", "app-b", 1, "yes"),
        Step("rule", "200100", 0, "no", "decoded as other"),
        Step("rule", "200101", 0, "yes"),
        Step("rule", "200102", 1, "no", "field matches dstuser, srcuser ^root$"),
        Step("rule", "200103", 1, "yes"),
        Step("rule", "200105", 2, "asks", "enough such events came before"),
    ]


def test_an_event_that_nobody_takes(make_ruleset: Callable[..., Ruleset]) -> None:
    ruleset = make_ruleset(TEXT)
    event = decoded(ruleset, LogLine("x", b"no header", 0, 0), b"h")
    assert [step.outcome for step in trace(ruleset, event)] == ["no", "no"]


def test_a_condition_in_words(make_ruleset: Callable[..., Ruleset]) -> None:
    ruleset = make_ruleset(TEXT)
    assert [describe(c) for rule in ruleset.rules for c in rule.conditions][:2] == [
        "decoded as other",
        "decoded as app",
    ]
