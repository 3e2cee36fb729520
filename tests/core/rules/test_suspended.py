"""Rules and decoders of suspended patterns are named, once."""

from collections.abc import Callable

from hids.core.pattern.guard import STRIKES
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import Ruleset
from hids.core.rules.suspended import Suspensions
from hids.messages import LogLine

RULES = r"""
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-child"><parent>app</parent><regex>^(a+)+\1$</regex><order>id</order></decoder>
<group name="x,">
  <rule id="290001" level="3"><regex>(b+)+\1$</regex><description>d</description></rule>
  <rule id="290002" level="3"><regex negate="yes">(c+)+\1$</regex><program_name>^other$</program_name><description>d</description></rule>
</group>"""


def test_a_rule_is_named_once_and_the_others_go_on(
    make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]
):
    plan = compile_plan(make_ruleset(RULES))
    suspensions = Suspensions((plan.ruleset,))

    def fired(text: str) -> int | None:
        verdict = plan.judge(plan.recognise(make_line(f"Nov 24 03:21:42 h1 {text}"), None))
        return None if verdict is None else plan.table.rules[verdict.residual[0][1]].id

    assert suspensions.news() == ()
    assert fired("app: bb") == 290001
    for _ in range(STRIKES):
        assert fired("app: " + "b" * 900 + "!") is None
    assert suspensions.news() == (r"ruleset test, rule 290001: pattern (b+)+\1$",)
    assert suspensions.news() == ()
    assert fired("app: bb") is None
    assert fired("other: x") == 290002


def test_a_suspended_pattern_does_not_hold_even_where_it_is_negated(
    make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]
):
    plan = compile_plan(make_ruleset(RULES))
    hard, easy = (make_line(f"Nov 24 03:21:42 h1 other: {text}") for text in ("c" * 900 + "!", "ccx"))
    for _ in range(STRIKES - 1):
        assert plan.judge(plan.recognise(hard, None)) is not None, "as in the C engines, it does not match"
    assert plan.judge(plan.recognise(hard, None)) is None
    assert plan.judge(plan.recognise(easy, None)) is None


def test_a_decoder_is_named(make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]):
    plan = compile_plan(make_ruleset(RULES))
    suspensions = Suspensions((plan.ruleset,))
    for _ in range(STRIKES):
        recognised = plan.recognise(make_line("Nov 24 03:21:42 h1 app: " + "a" * 900 + "!"), None)
        assert "id" not in recognised.event.fields
    (text,) = suspensions.news()
    assert "decoder app-child" in text
