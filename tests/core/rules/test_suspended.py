"""Rules and decoders of suspended patterns are named, once."""

from collections.abc import Callable

from hids.core.pattern.guard import STRIKES
from hids.core.rules.plan import compile_plan
from hids.core.rules.profile import Profile
from hids.core.rules.rule import Ruleset
from hids.core.rules.suspended import Suspensions
from hids.messages.lines import LogLine

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
        verdict = plan.judge(plan.recognise(make_line(f"Nov 24 03:21:42 h1 {text}")))
        return None if verdict is None else plan.table.rules[verdict.residual[0][1]].id

    assert suspensions.news() == ()
    assert fired("app: bb") == 290001
    for n in range(STRIKES):
        assert fired("app: " + "b" * (900 + n) + "!") is None
    assert suspensions.news() == (r"ruleset test, rule 290001: pattern (b+)+\1$",)
    assert suspensions.news() == ()
    assert fired("app: bbb") is None
    assert fired("app: bb") == 290001, "what is remembered of a log needs no pattern"
    assert fired("other: x") == 290002


def test_a_suspended_pattern_does_not_hold_even_where_it_is_negated(
    make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]
):
    plan = compile_plan(make_ruleset(RULES))

    def holds(text: str) -> bool:
        return plan.judge(plan.recognise(make_line(f"Nov 24 03:21:42 h1 other: {text}"))) is not None

    for n in range(STRIKES - 1):
        assert holds("c" * (900 + n) + "!"), "as in the C engines, it does not match"
    assert not holds("c" * 890 + "!")
    assert not holds("ccx")


def test_a_decoder_is_named(make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]):
    plan = compile_plan(make_ruleset(RULES))
    suspensions = Suspensions((plan.ruleset,))
    for n in range(STRIKES):
        recognised = plan.recognise(make_line("Nov 24 03:21:42 h1 app: " + "a" * (900 + n) + "!"))
        assert "id" not in recognised.fields
    (text,) = suspensions.news()
    assert "decoder app-child" in text


def test_figures_tell_what_was_suspended(make_ruleset: Callable[..., Ruleset], make_line: Callable[..., LogLine]):
    plan = compile_plan(make_ruleset(RULES))
    profile = Profile((plan.ruleset,), lambda: 0)
    assert profile.told()[0].suspended == {}
    for n in range(STRIKES):
        plan.judge(plan.recognise(make_line("Nov 24 03:21:42 h1 app: " + "b" * (900 + n) + "!")))
    assert profile.told()[0].suspended == {r"rule 290001: pattern (b+)+\1$": 1}
