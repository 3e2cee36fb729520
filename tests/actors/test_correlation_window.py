"""From a batch of lines to alerts and state: decoder, rule shard and correlation window, with what the lane derives."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from waiting import SetClock, until

from hids.actors.correlation_window import CorrelationWindow, Recalled, Settled
from hids.actors.decoder import Decoder, Recognition
from hids.actors.rule_shard import RuleShard
from hids.actors.stage import Mailbox
from hids.core.decode.decoder import Decoder as DecoderRow
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import SourceFile
from hids.core.wire.lines import GENESIS, link, pack
from hids.messages.evaluation import Job, Outcome
from hids.messages.lane import Applied
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import Agent, AgentId, Correlation, SourceId

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
TEMPLATE = '<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category></rule></group>'
DECODER = (
    '<decoder name="p"><prematch>^conn</prematch></decoder>'
    '<decoder name="c"><parent>p</parent><prematch>from</prematch>'
    '<regex offset="after_parent">^=(\\d+) from (\\S+)</regex><order>id,srcip</order></decoder>'
    '<decoder name="d"><parent>p</parent><prematch>user</prematch>'
    '<regex offset="after_parent">^=(\\d+) user (\\S+)</regex><order>id,user</order></decoder>'
)
RULES = (
    '<group name="g,"><rule id="100" level="3"><decoded_as>p</decoded_as></rule>'
    '<rule id="101" level="7"><if_sid>100</if_sid><srcip>192.0.2.1</srcip><user>ann</user></rule>'
    '<rule id="102" level="5"><if_sid>100</if_sid><match>report</match><check_diff /></rule>'
    '<rule id="103" level="6" ignore="60"><if_sid>100</if_sid><match>disk full</match></rule></group>'
)


def plan_of(name: str, dialect: Dialect, correlation: Correlation, *, accumulate: bool) -> Plan:
    files = [SourceFile("t.xml", TEMPLATE.encode()), SourceFile("r.xml", (DECODER + RULES).encode())]
    ruleset = load(name, dialect, files, correlation=correlation)
    if accumulate:
        tree = ruleset.decoders
        roots = tuple(map(_accumulating, tree.without_program))
        ruleset = msgspec.structs.replace(ruleset, decoders=msgspec.structs.replace(tree, without_program=roots))
    return compile_plan(ruleset)


def _accumulating(decoder: DecoderRow) -> DecoderRow:
    children = tuple(map(_accumulating, decoder.children))
    return msgspec.structs.replace(decoder, accumulate=True, children=children)


class Bench:
    """The three actors, wired as in the manager but for the processes between them."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.clock = SetClock()
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.applied: list[Applied] = []
        self.ends: dict[str, tuple[int, bytes]] = {}
        tables = {plan.hash: plan.table for plan in plans}
        self.decoding, self.judging, self.lane = (Mailbox(name, 100) for name in ("decoder", "rule_shard", "lane"))

        def judge(recognition: Recognition) -> None:
            self.judging.tell(recognition)

        def correlate(outcome: Outcome) -> None:
            self.lane.tell(outcome)

        def mark(number: int, offset: int) -> None:
            del number, offset

        CorrelationWindow.start(
            self.lane,
            Recalled({}, {}, 1, {}),
            self.rows.get,
            tables.__getitem__,
            lambda _source, _digest, _epoch: False,
            self.clock,
            self.applied.append,
            log_level=3,
            budget_bytes=1 << 20,
        )
        RuleShard.start(self.judging, plans, mark, correlate, worker=1, manager="boss")
        Decoder.start(self.decoding, plans, mark, judge)

    async def send(self, *lines: LogLine, source: str = "agent/007") -> Applied:
        """One batch through all three; its state is committed."""
        seq, chain = self.ends.get(source, (0, GENESIS))
        data = pack(lines)
        self.ends[source] = (seq + len(lines), link(chain, data))
        batch = Batch(epoch=1, first_seq=seq + 1, count=len(lines), chain=self.ends[source][1], data=data)
        before = len(self.applied)
        self.decoding.tell(Job(source=SourceId(source), agent=AGENT, batch=batch, received_ms=self.clock.now_ms()))
        await until(lambda: len(self.applied) > before, "the batch is applied")
        applied = self.applied[-1]
        self.rows.update({where: state for where, (state, _) in applied.state.items()})
        self.lane.tell(Settled(applied.state))
        return applied

    def line(self, text: str, **members: Any) -> LogLine:
        now_ms = self.clock.now_ms()
        return LogLine("/var/log/x", text.encode(), now_ms, now_ms, **members)


def run(test: Callable[[Bench], Any], *plans: Plan) -> None:
    async def main() -> None:
        await test(Bench(plans))

    asyncio.run(main())


def rules_of(applied: Applied) -> list[str]:
    return [json.loads(alert)["rule"]["id"] for alert in applied.alerts]


def test_an_event_is_lent_what_those_before_it_said_and_comes_once_more():
    async def test(bench: Bench) -> None:
        first = await bench.send(bench.line("conn=7 from 192.0.2.1"), bench.line("conn=8 from 192.0.2.9"))
        assert (rules_of(first), first.lines) == (["100", "100"], ())
        second = await bench.send(bench.line("conn=7 user ann"), bench.line("conn=8 user ann"))
        assert rules_of(second) == []
        assert [(kind, line.text) for kind, line in second.lines] == [
            ("accumulate", b"conn=7 user ann"),
            ("accumulate", b"conn=8 user ann"),
        ]
        third = await bench.send(*(line for _, line in second.lines), source="derived/accumulate/007")
        assert (rules_of(third), third.lines) == (["101", "100"], ())
        alert = json.loads(third.alerts[0])
        assert alert["data"] == {"id": "7", "srcip": "192.0.2.1", "dstuser": "ann"}
        assert alert["agent"]["name"] == "web1"
        assert alert["id"] == "007.accumulate-1-1"

    run(test, plan_of("one", "ossec", "native", accumulate=True))


def test_only_the_ruleset_that_lends_sees_the_event_again():
    async def test(bench: Bench) -> None:
        await bench.send(bench.line("conn=7 from 192.0.2.1"))
        second = await bench.send(bench.line("conn=7 user ann"))
        assert [json.loads(alert)["hids"]["ruleset"] for alert in second.alerts] == ["plain"]
        third = await bench.send(*(line for _, line in second.lines), source="derived/accumulate/007")
        assert [json.loads(alert)["hids"]["ruleset"] for alert in third.alerts] == ["lends"]

    run(
        test,
        plan_of("lends", "ossec", "native", accumulate=True),
        plan_of("plain", "ossec", "native", accumulate=False),
    )


def test_an_agent_cannot_lend_its_events_fields():
    async def test(bench: Bench) -> None:
        lent = msgspec.msgpack.encode(("one", {"srcip": b"192.0.2.1"}))
        applied = await bench.send(bench.line("conn=7 user ann", facts=lent))
        assert rules_of(applied) == ["100"]

    run(test, plan_of("one", "ossec", "native", accumulate=True))


def test_with_correlation_as_it_was_repeated_logs_are_dropped_and_counted():
    async def test(bench: Bench) -> None:
        logs = ("conn=1 user a", "conn=1 user a", "conn=2 user b")
        first = await bench.send(*map(bench.line, logs))
        assert (rules_of(first), first.counts) == (["100", "100"], {"evaluated": 3, "repeated": 1, "alerts": 2})
        second = await bench.send(bench.line("conn=1 user a"))
        assert (rules_of(second), second.counts["repeated"]) == ([], 1)

    run(test, plan_of("one", "ossec", "compat", accumulate=False))


def test_natively_every_log_counts():
    async def test(bench: Bench) -> None:
        applied = await bench.send(bench.line("conn=1 user a"), bench.line("conn=1 user a"))
        assert rules_of(applied) == ["100", "100"]

    run(test, plan_of("one", "ossec", "native", accumulate=False))


def test_a_changed_log_is_told_with_the_one_before():
    async def test(bench: Bench) -> None:
        texts = ("conn report a", "conn report a", "conn report b")
        applied = await bench.send(*map(bench.line, texts))
        assert rules_of(applied) == ["100", "100", "102"]
        assert json.loads(applied.alerts[2])["previous_log"] == "conn report a"
        assert "previous_log" not in json.loads(applied.alerts[1])

    run(test, plan_of("one", "ossec", "native", accumulate=False))


def test_what_ignore_silences_is_counted_and_fires_all_the_same():
    async def test(bench: Bench) -> None:
        full = bench.line("conn disk full")
        first = await bench.send(full, full)
        assert (rules_of(first), first.counts["ignored"]) == (["103"], 1)
        bench.clock.advance(61)
        second = await bench.send(bench.line("conn disk full"))
        assert json.loads(second.alerts[0])["rule"]["firedtimes"] == 3

    run(test, plan_of("one", "ossec", "native", accumulate=False))
