"""The decision: when, where, for how long, how many at most, and nothing that feeds itself."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hids.core.response.blocks import Blocks
from hids.core.response.decide import Alert, Decider, Verdict, alert_decoder
from hids.core.response.guard import Guard, Surroundings
from hids.core.response.policy import Command, Policy, Response, ResponseLimits
from hids.messages.responder import Enlisted
from hids.messages.terms import AgentId

NOW_MS = 1_795_490_502_000
AGENTS = (
    Enlisted(AgentId("001"), "web1", ("10.0.0.1",)),
    Enlisted(AgentId("002"), "db1", ("10.0.0.2",)),
    Enlisted(AgentId("003"), "old1", (), legacy=True),
)
GUARD = Guard(Surroundings(gateways=("192.0.2.1",)), allow_users=("root",))
DROP = Response(command="firewall-drop", name="drop", level=10)


def alert(make_alert: Any, number: int = 1, *, level: int = 10, rule: str = "201250", **changes: Any) -> Alert:
    members: dict[str, Any] = {"at_ms": NOW_MS, "number": number, **changes.pop("hids", {})}
    groups = changes.pop("groups", ["sshd", "authentication_failures"])
    made = make_alert(number, agent={"id": "001", "name": "web1", "ip": "10.0.0.1"}, **changes)
    made["rule"] |= {"level": level, "id": rule, "groups": groups, "description": "brute force"}
    made["hids"] = made["hids"] | members
    return alert_decoder.decode(msgspec.json.encode(made))


def decider(*responses: Response, commands: tuple[Command, ...] = (), **limits: Any) -> Decider:
    policy = Policy(limits=ResponseLimits(**limits), commands=commands, responses=responses or (DROP,))
    found = Decider(policy, Blocks())
    found.agents = AGENTS
    return found


def decide(judge: Decider, one: Alert, now_ms: int = NOW_MS) -> list[Verdict]:
    return judge.decide(one, b"{}", GUARD, now_ms)


def test_an_order_says_what_where_and_until_when(make_alert):
    (verdict,) = decide(decider(), alert(make_alert, 7))
    order = verdict.order
    assert (verdict.state, verdict.agent.name) == ("open", "web1")
    assert (order.id, order.agent, order.address) == ("007-1-7:drop:001", "001", "192.0.2.7")
    assert (order.until_ms, order.action, order.user) == (NOW_MS + 600_000, "firewall-drop", "")
    assert (order.reference, order.rule, order.why) == (f"{NOW_MS // 1000}.7", "201250", "brute force")
    assert decide(decider(), alert(make_alert, 7))[0].order.id == order.id, "a replay gives the same id"


def test_any_reason_is_enough_for_ossec_and_wazuh_wants_level_and_group(make_alert):
    def fires(response: dict[str, Any], **what: Any) -> bool:
        return bool(decide(decider(Response(command="firewall-drop", **response)), alert(make_alert, **what)))

    assert fires({"level": 10})
    assert not fires({"level": 11})
    assert fires({"level": 11, "groups": ("authentication_*",)})
    assert not fires({"level": 11, "groups": ("authentication_*",), "match": "all"})
    assert fires({"level": 10, "groups": ("*failures",), "match": "all"})
    assert not fires({"level": 10, "groups": ("web",), "match": "all"})
    assert fires({"level": 16, "rules": (201250,), "match": "all"})
    assert not fires({"level": 1}, level=0)
    assert not fires({"level": 10, "disabled": True})
    assert not fires({"groups": ("authentication",)}), "a part of a name is no name"


def test_rules_say_no_and_responses_never_feed_themselves(make_alert):
    assert not decide(decider(), alert(make_alert, hids={"no_ar": True}))
    assert not decide(decider(), alert(make_alert, groups=["active_response"]))
    assert not decide(decider(mode="off"), alert(make_alert))


def test_what_the_alert_lacks_is_not_made_up(make_alert):
    for data in (
        {},
        {"srcip": "not-an-address"},
        {"srcip": "192.0.2.7; reboot"},
        {"srcip": 7},
        {"srcip": "fe80::1%eth0"},
    ):
        assert not decide(decider(), alert(make_alert, data=data))
    lock = Response(command="disable-account", level=10, timeout_s=0)
    (verdict,) = decide(decider(lock), alert(make_alert, data={"dstuser": "eve", "srcip": "192.0.2.7"}))
    assert (verdict.order.user, verdict.order.address, verdict.order.until_ms) == ("eve", "", 0)
    for user in ("-rf", "eve; id", "", "a" * 40, "../x"):
        assert not decide(decider(lock), alert(make_alert, data={"dstuser": user}))


def test_mapped_addresses_are_their_ipv4_selves(make_alert):
    (verdict,) = decide(decider(), alert(make_alert, data={"srcip": "::ffff:192.0.2.1"}))
    assert (verdict.state, verdict.reason) == ("refused", "it is a gateway of this machine")


def test_locations(make_alert):
    def where(location: str, **options: Any) -> list[tuple[str, str]]:
        judge = decider(
            Response(command="firewall-drop", level=1, location=location, **options),  # type: ignore[arg-type]
            server_agent="db1",
        )
        return [(verdict.agent.id, verdict.state) for verdict in decide(judge, alert(make_alert))]

    assert where("local") == [("001", "open")]
    assert where("server") == [("002", "open")]
    assert where("defined-agent", agent="db1") == [("002", "open")]
    assert where("defined-agent", agent="nobody") == [("001", "refused")]
    assert where("all") == [("001", "open"), ("002", "open"), ("003", "open")]


def test_an_agent_that_joined_a_moment_ago_responds_and_the_managers_own_alerts_go_to_its_host(make_alert):
    judge = decider(server_agent="002")
    judge.agents = ()
    assert [v.agent.id for v in decide(judge, alert(make_alert))] == ["001"]
    judge.agents = AGENTS
    syslog = msgspec.structs.replace(
        alert(make_alert, 2, data={"srcip": "192.0.2.9"}), agent=type(alert(make_alert).agent)()
    )
    assert [v.agent.name for v in decide(judge, syslog)] == ["db1"]


def test_a_block_is_renewed_only_when_that_is_worth_it(make_alert):
    judge = decider()
    assert decide(judge, alert(make_alert, 1))
    assert not decide(judge, alert(make_alert, 2), NOW_MS + 30_000)
    (verdict,) = decide(judge, alert(make_alert, 3), NOW_MS + 120_000)
    assert verdict.order.until_ms == NOW_MS + 720_000
    assert judge.blocks.in_last_minute(NOW_MS + 120_000) == 0, "a renewal costs nothing"


def test_repeated_offenders_stay_out_longer(make_alert):
    judge = decider(Response(command="firewall-drop", level=1, timeout_s=60, repeated_offenders=(5, 60)))
    now_ms, lasted = NOW_MS, []
    for number in range(1, 5):
        (verdict,) = decide(judge, alert(make_alert, number, hids={"at_ms": now_ms}), now_ms)
        lasted.append((verdict.order.until_ms - now_ms) // 1000)
        now_ms = verdict.order.until_ms
    assert lasted == [60, 300, 3600, 3600]
    assert judge.blocks.times("firewall-drop", "192.0.2.7", now_ms + 31 * 86_400_000) == 0


def test_old_news_is_not_acted_on(make_alert):
    (verdict,) = decide(decider(), alert(make_alert), NOW_MS + 601_000)
    assert verdict.state == "stale"
    assert "max_age_s = 600" in verdict.reason


def test_budgets_a_minute_and_in_all(make_alert):
    def flood(judge: Decider, count: int, now_ms: int, first: int = 0) -> list[str]:
        found = []
        for number in range(first, first + count):
            data = {"srcip": f"198.51.{number // 256}.{number % 256}"}
            (verdict,) = decide(judge, alert(make_alert, number, data=data, hids={"at_ms": now_ms}), now_ms)
            found.append(verdict.state)
        return found

    judge = decider(per_minute=10, active=25)
    assert flood(judge, 4000, NOW_MS).count("open") == 10
    assert flood(judge, 100, NOW_MS + 61_000, 5000).count("open") == 10
    assert flood(judge, 100, NOW_MS + 122_000, 6000).count("open") == 5, "25 at once"
    assert flood(judge, 100, NOW_MS + 661_000, 7000).count("open") == 10, "the first ones are over"


def test_shadow_mode_says_what_would_be_done_within_the_budget(make_alert):
    judge = decider(mode="shadow", per_minute=1)
    assert [v.state for v in decide(judge, alert(make_alert, 1))] == ["shadow"]
    assert not decide(judge, alert(make_alert, 2)), "it would be in force"
    (verdict,) = decide(judge, alert(make_alert, 3, data={"srcip": "192.0.2.8"}))
    assert verdict.state == "refused"


def test_what_needs_no_target_is_not_done_over_and_over(make_alert):
    judge = decider(Response(command="restart", level=1, timeout_s=0))
    assert decide(judge, alert(make_alert, 1))
    assert not decide(judge, alert(make_alert, 2), NOW_MS + 59_000)
    assert decide(judge, alert(make_alert, 3), NOW_MS + 61_000)


def test_a_person_is_guarded_but_not_budgeted(make_alert):
    judge = decider(per_minute=1)
    drop = Command(name="firewall-drop")
    for number in range(5):
        (verdict,) = judge.by_hand(drop, f"192.0.2.{number + 50}", AGENTS[:1], "root", 60, GUARD, NOW_MS)
        assert verdict.state == "open"
    for target, reason in (("192.0.2.1", "gateway"), ("", "needs an address"), ("nonsense", "needs an address")):
        (verdict,) = judge.by_hand(drop, target, AGENTS[:1], "root", 60, GUARD, NOW_MS)
        assert verdict.state == "refused"
        assert reason in verdict.reason


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
    )
)
def test_whatever_a_decoder_puts_into_an_alert_is_data(value: Any):
    members = {"number": 1, "at_ms": NOW_MS}
    one = {
        "id": "1",
        "rule": {"id": "1", "level": 10, "groups": ["x"]},
        "hids": members,
        "data": {"srcip": value, "dstuser": value, "file": value},
    }
    lock = Response(command="disable-account", level=1)
    for verdict in decide(decider(DROP, lock), alert_decoder.decode(msgspec.json.encode(one))):
        assert verdict.order.address or verdict.order.user


def test_what_happens_once_has_no_end_and_what_lasts_can_be_undone(make_alert):
    page = Command(name="page", executable="page.sh", expect=("srcip",), timeout_allowed=False)
    judge = decider(Response(command="page", level=1), commands=(page,))
    (verdict,) = decide(judge, alert(make_alert, 1))
    assert (verdict.order.once, verdict.order.until_ms) == (True, 0)
    assert not decide(judge, alert(make_alert, 2), NOW_MS + 59_000)
    assert decide(judge, alert(make_alert, 3), NOW_MS + 61_000)
    forever = Command(name="forever", executable="firewall-drop", timeout_allowed=False)
    (verdict,) = decide(decider(Response(command="forever", level=1), commands=(forever,)), alert(make_alert))
    assert (verdict.order.once, verdict.order.until_ms) == (False, 0)
