"""Correlation over a fleet, on the real code of worker and lane with a real ledger: right whatever the order and whoever dies."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lane_stand import Host, Lane, Worker, on_a_loop
from waiting import SetClock

from hids.core.correlate.applier import SETTLE_MS
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import SourceFile
from hids.core.wire.lines import unpack
from hids.messages.lines import LogLine
from hids.messages.terms import Correlation

RULES = """
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-failed">
  <parent>app</parent><prematch>^failed </prematch>
  <regex offset="after_prematch">^user (\\S*) from (\\S+)$</regex><order>dstuser, srcip</order>
</decoder>
<decoder name="app-job">
  <parent>app</parent><prematch>^job </prematch>
  <regex offset="after_prematch">^(\\S+) </regex><order>job</order>
</decoder>
<group name="app,">
  <rule id="200100" level="5">
    <decoded_as>app</decoded_as><match>^failed </match><description>failed</description>
  </rule>
  <rule id="200101" level="10" frequency="8" timeframe="120" ignore="3600">
    <if_matched_sid>200100</if_matched_sid><same_srcip /><description>many from $(srcip)</description>
  </rule>
  <rule id="200102" level="8" frequency="8" timeframe="120">
    <if_matched_sid>200100</if_matched_sid><same_srcip /><different_user /><description>many users</description>
  </rule>
  <rule id="200103" level="3">
    <decoded_as>app</decoded_as><match>^job \\S+ done</match><description>done</description>
  </rule>
  <rule id="200104" level="9" timeframe="93600">
    <if_matched_sid>200103</if_matched_sid><unless>200103</unless><same_field>job</same_field>
    <description>no $(job) for 26 hours</description>
  </rule>
</group>
"""
BRUTE = "200101"
S = 1000
HOUR_S = 3600
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load("t", "hids", [SourceFile("r.xml", RULES.encode())]))


def failed(at_ms: int, source: str, user: str = "bob", read_ms: int | None = None) -> LogLine:
    text = f"Nov 14 22:13:20 web app[1]: failed user {user} from {source}"
    return LogLine("/var/log/app", text.encode(), at_ms, at_ms if read_ms is None else read_ms)


def job(at_ms: int, name: str = "backup") -> LogLine:
    return LogLine("/var/log/app", f"Nov 14 22:13:20 web app[1]: job {name} done".encode(), at_ms, at_ms)


class Fleet:
    """Hosts, a worker and a lane; a group is committed every few batches."""

    def __init__(self, path: Path, plan: Plan, hosts: int = 1, **options: Any) -> None:
        self.clock = SetClock(START_MS)
        self.hosts = [Host(number) for number in range(1, hosts + 1)]
        self.worker = Worker([plan])
        self.lane = Lane(path, [plan], self.clock, **options)

    def send(self, host: int, *lines: LogLine, offset_ms: int = 0) -> None:
        """One batch, applied and committed."""
        self.lane.give(self.worker.outcome(self.hosts[host].job(lines, self.clock.ms, offset_ms)))
        self.lane.commit()

    def through(self, host: int, at_ms: int) -> None:
        self.lane.give(self.hosts[host].through(at_ms))
        self.lane.commit()

    def told(self, rule: str = BRUTE) -> Counter[str]:
        """Alerts of a rule by address."""
        alerts = list(self.lane.alerts())
        numbers = [alert["hids"]["number"] for alert in alerts]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({alert["id"] for alert in alerts}) == len(alerts)
        return Counter(alert.get("data", {}).get("srcip", "") for alert in alerts if alert["rule"]["id"] == rule)

    def derived(self) -> list[str]:
        """Texts of the lines that the lane wrote."""
        return [
            line.text.decode()
            for committed in self.lane.committed
            for new in committed.derived
            for line in unpack(new.batch.data, new.batch.count)
        ]


def run(test: Callable[[], None]) -> None:
    on_a_loop(test)


def shuffled(items: list[Any], seed: int) -> list[Any]:
    order = random.Random(seed)  # noqa: S311 - it shall come out the same each time
    return order.sample(items, len(items))


@pytest.mark.parametrize("seed", range(3))
def test_attackers_over_a_hundred_agents_with_batches_late_and_out_of_order(tmp_path: Path, plan: Plan, seed: int):
    """Each attacker fails ten times, on ten hosts whose clocks are up to 5 s off; nobody's batches come in time order."""

    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan, 100)
        fleet.clock.advance(600)
        order = random.Random(seed)  # noqa: S311 - as above
        attackers = [f"192.0.2.{number}" for number in range(40)]
        quiet = [f"198.51.100.{number}" for number in range(40)]
        lines: dict[int, list[LogLine]] = {host: [] for host in range(100)}
        for attacker in attackers:
            for turn, host in enumerate(order.sample(range(100), 10)):
                lines[host].append(failed(START_MS + turn * 10 * S + order.randint(-5 * S, 5 * S), attacker))
        for source in quiet:
            for host in order.sample(range(100), 7):
                lines[host].append(failed(START_MS + order.randint(0, 60 * S), source))
        batches = [(host, part) for host, all_lines in lines.items() for part in _pieces(all_lines, 3)]
        waiting: dict[int, Iterator[list[LogLine]]] = {
            host: iter([part for other, part in batches if other == host]) for host in lines
        }
        for host in shuffled([host for host, _ in batches], seed):
            fleet.send(host, *next(waiting[host]))
        assert fleet.told() == Counter(attackers)

    run(test)


def _pieces(lines: list[LogLine], size: int) -> list[list[LogLine]]:
    return [lines[start : start + size] for start in range(0, len(lines), size)]


@pytest.mark.parametrize("speed", [20, 2_000])
def test_sixty_agents_catch_up_an_hour_while_one_clock_is_a_day_ahead(tmp_path: Path, plan: Plan, speed: int):
    """Of an hour's backlog each agent sends `speed` times as fast as it came, the agents one behind the other."""

    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan, 61, window_bytes=10_000)
        fleet.clock.advance(HOUR_S)
        attackers = [f"192.0.2.{number}" for number in range(30)]
        order = random.Random(speed)  # noqa: S311 - as above
        backlog: dict[int, list[LogLine]] = {host: [] for host in range(60)}
        for number, attacker in enumerate(attackers):
            for turn in range(8):
                at_ms = START_MS + number * 110 * S + turn * 15 * S
                backlog[order.randrange(60)].append(failed(at_ms, attacker, read_ms=fleet.clock.ms))
        for behind in backlog.values():
            behind.sort(key=lambda line: line.at_ms)
        step_ms = speed * S
        for since in range(0, HOUR_S * S, step_ms):
            ahead = fleet.clock.ms + 24 * HOUR_S * S
            fleet.send(60, failed(ahead, "203.0.113.9"), offset_ms=0)
            for host in shuffled(list(backlog), since):
                part = [line for line in backlog[host] if since <= line.at_ms - START_MS < since + step_ms]
                if part:
                    fleet.send(host, *part)
            fleet.clock.advance(1)
        expected = Counter(attackers) + Counter({"203.0.113.9": int(HOUR_S / speed >= 8)})
        assert fleet.told() == expected
        assert fleet.lane.window.facts()["spilled"] > 0
        assert fleet.lane.counts().get("late", 0) == 0

    run(test)


def test_beyond_a_day_it_is_counted_and_named_once_an_hour(tmp_path: Path, plan: Plan):
    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan, 2)
        fleet.clock.advance(24 * HOUR_S + 1)
        for turn in range(12):
            fleet.send(0, failed(START_MS + turn, "192.0.2.1"))
        assert fleet.told() == Counter()
        assert fleet.told("200100") == Counter({"192.0.2.1": 12}), "each still gives its own alert"
        assert fleet.lane.counts()["late"] == 12
        assert [text.partition(":")[0] for text in fleet.derived()] == ["lines late"]
        fleet.lane.kill()
        fleet.send(0, failed(START_MS, "192.0.2.1"))
        fleet.send(1, failed(START_MS, "192.0.2.1"))
        fleet.clock.advance(HOUR_S)
        fleet.send(0, failed(START_MS, "192.0.2.1"))
        assert len(fleet.derived()) == 3

    run(test)


def test_a_lane_killed_at_every_point_around_the_threshold_tells_it_once(tmp_path: Path, plan: Plan):
    """For each batch: killed before it is applied, applied but not committed, or committed but nobody was told."""

    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan)
        for turn in range(10):
            outcome = fleet.worker.outcome(fleet.hosts[0].job([failed(START_MS + turn, "192.0.2.1")], fleet.clock.ms))
            fleet.lane.kill()
            fleet.lane.give(outcome)
            fleet.lane.kill()
            fleet.lane.give(outcome)
            fleet.lane.commit()
            fleet.lane.kill()
            fleet.lane.give(outcome)
            fleet.lane.commit()
        assert fleet.told() == Counter({"192.0.2.1": 1})
        assert fleet.told("200100").total() == 9
        assert fleet.lane.counts()["evaluated"] == 10

    run(test)


def test_two_rules_on_one_event_both_count_and_the_highest_is_told(tmp_path: Path, plan: Plan):
    def test() -> None:
        for which, expected in ((False, (1, 0)), (True, (1, 1))):
            fleet = Fleet(tmp_path / f"{which}.db", plan, tells_all=which)
            for turn in range(8):
                fleet.send(0, failed(START_MS + turn * S, "192.0.2.1", f"user{turn}"))
            assert (fleet.told().total(), fleet.told("200102").total()) == expected
            assert fleet.told("200100").total() == 8 if which else 7
            assert fleet.lane.store.fired().keys() >= {
                row.identity for row in plan.table.rules if row.id in (200_101, 200_102)
            }
            ids = [alert["id"] for alert in list(fleet.lane.alerts())[-3:]]
            assert not which or ids == ["001-1-8", "001-1-8-1", "001-1-8-2"]

    run(test)


class TestAbsence:
    def test_it_is_told_when_the_agent_said_that_all_is_read(self, tmp_path: Path, plan: Plan):
        def test() -> None:
            fleet = Fleet(tmp_path / "l.db", plan, 2)
            fleet.send(0, job(START_MS), job(START_MS, "cleanup"))
            fleet.clock.advance(20 * HOUR_S)
            fleet.send(0, job(fleet.clock.ms, "cleanup"))
            fleet.clock.advance(7 * HOUR_S)
            fleet.through(1, fleet.clock.ms)
            assert fleet.told("200104") == Counter(), "nothing is known of the agent that is silent"
            fleet.through(0, START_MS + 26 * HOUR_S * S + SETTLE_MS)
            assert fleet.told("200104") == Counter(), "what we derive from its lines may be under way"
            fleet.lane.kill()
            fleet.through(0, fleet.clock.ms)
            fleet.lane.kill()
            fleet.through(0, fleet.clock.ms)
            (alert,) = (a for a in fleet.lane.alerts() if a["rule"]["id"] == "200104")
            assert alert["rule"]["description"] == "no backup for 26 hours"
            assert alert["hids"]["at_ms"] == START_MS + 26 * HOUR_S * S
            assert (alert["id"], alert["agent"]["name"]) == ("001-1-1-200104", "web1")
            assert alert["full_log"].endswith("job backup done")

        run(test)

    def test_a_word_that_overtakes_the_lines_waits_for_them(self, tmp_path: Path, plan: Plan):
        def test() -> None:
            fleet = Fleet(tmp_path / "l.db", plan)
            fleet.send(0, job(START_MS))
            fleet.clock.advance(27 * HOUR_S)
            outcome = fleet.worker.outcome(fleet.hosts[0].job([job(START_MS + 25 * HOUR_S * S)], fleet.clock.ms))
            fleet.through(0, fleet.clock.ms)
            assert fleet.told("200104") == Counter()
            fleet.lane.give(outcome)
            fleet.lane.commit()
            assert fleet.told("200104") == Counter(), "it came in time, though it was read late"

        run(test)

    def test_a_lane_killed_before_the_commit_tells_it_after_the_next_word(self, tmp_path: Path, plan: Plan):
        def test() -> None:
            fleet = Fleet(tmp_path / "l.db", plan)
            fleet.send(0, job(START_MS))
            fleet.clock.advance(27 * HOUR_S)
            fleet.lane.give(fleet.hosts[0].through(fleet.clock.ms))
            fleet.lane.kill()
            assert fleet.told("200104") == Counter()
            fleet.through(0, fleet.clock.ms)
            assert fleet.told("200104").total() == 1

        run(test)

    def test_what_came_too_late_to_be_counted_makes_it_unknown(self, tmp_path: Path, plan: Plan):
        def test() -> None:
            fleet = Fleet(tmp_path / "l.db", plan)
            fleet.send(0, job(START_MS))
            fleet.clock.advance(50 * HOUR_S)
            fleet.send(0, job(START_MS + 25 * HOUR_S * S))
            fleet.through(0, fleet.clock.ms)
            assert fleet.told("200104") == Counter()
            assert fleet.lane.window.facts()["unknown"] == 1

        run(test)


DOWN, UP = "<if_matched_sid>200110</if_matched_sid>", "200111"
SCOPES = f"""
<decoder name="app"><program_name>^app$</program_name></decoder>
<group name="app,">
  <rule id="200110" level="3">
    <decoded_as>app</decoded_as><match>^leader down</match><description>down</description>
  </rule>
  <rule id="200111" level="3"><decoded_as>app</decoded_as><match>^leader up</match><description>up</description></rule>
  <rule id="200112" level="8" timeframe="60">
    {DOWN}<followed_by>{UP}</followed_by><description>another leads</description>
  </rule>
  <rule id="200113" level="7" timeframe="60">
    {DOWN}<followed_by>{UP}</followed_by><same_agent /><description>it leads again</description>
  </rule>
  <rule id="200114" level="8" timeframe="60">
    {DOWN}<unless>{UP}</unless><description>it does not lead again</description>
  </rule>
  <rule id="200115" level="12" timeframe="60">
    {DOWN}<unless>{UP}</unless><global_frequency /><description>nobody leads</description>
  </rule>
</group>
"""


@pytest.fixture(scope="module")
def scopes() -> Plan:
    return compile_plan(load("t", "hids", [SourceFile("r.xml", SCOPES.encode())]))


class TestScope:
    """Whose events a sequence is about: the agent's or the fleet's."""

    def fleet(self, folder: Path, scopes: Plan) -> Fleet:
        """Three hosts that have all been heard."""
        fleet = Fleet(folder / "l.db", scopes, 3, tells_all=True)
        for host in range(3):
            fleet.send(host, self.says("waits", 0))
            fleet.through(host, START_MS)
        return fleet

    def says(self, what: str, at_s: int) -> LogLine:
        text = f"Nov 14 22:13:20 web app[1]: leader {what}"
        return LogLine("/var/log/app", text.encode(), START_MS + at_s * S, START_MS + at_s * S)

    def counts(self, fleet: Fleet) -> list[int]:
        return [fleet.told(rule).total() for rule in ("200112", "200113", "200114", "200115")]

    @pytest.mark.parametrize(("host", "expected"), [(0, [1, 1, 0, 0]), (1, [1, 0, 1, 0])])
    def test_who_leads_afterwards(self, tmp_path: Path, scopes: Plan, host: int, expected: list[int]):
        def test() -> None:
            fleet = self.fleet(tmp_path, scopes)
            fleet.send(0, self.says("down", 1))
            fleet.send(host, self.says("up", 20))
            fleet.clock.advance(100)
            for each in range(3):
                fleet.through(each, fleet.clock.ms)
            assert self.counts(fleet) == expected

        run(test)

    def test_nobody_leads_is_told_once_when_every_agent_has_said_so(self, tmp_path: Path, scopes: Plan):
        def test() -> None:
            fleet = self.fleet(tmp_path, scopes)
            fleet.send(0, self.says("down", 1))
            fleet.clock.advance(100)
            for host in (0, 1):
                fleet.through(host, fleet.clock.ms)
            assert self.counts(fleet) == [0, 0, 1, 0], "the third may have taken over"
            fleet.lane.kill()
            fleet.through(0, fleet.clock.ms)
            assert self.counts(fleet) == [0, 0, 1, 0], "a new lane waits for all that were heard"
            for host in (1, 2, 0, 1, 2):
                fleet.through(host, fleet.clock.ms)
            assert self.counts(fleet) == [0, 0, 1, 1]

        run(test)

    def test_what_another_agent_sends_late_ends_it(self, tmp_path: Path, scopes: Plan):
        def test() -> None:
            fleet = self.fleet(tmp_path, scopes)
            fleet.send(0, self.says("down", 1))
            fleet.clock.advance(2 * HOUR_S)
            for host in (0, 1):
                fleet.through(host, fleet.clock.ms)
            fleet.send(2, self.says("up", 30))
            fleet.through(2, fleet.clock.ms)
            assert self.counts(fleet) == [1, 0, 1, 0]

        run(test)

    def test_an_agent_that_is_away_for_a_day_is_waited_for_no_more(self, tmp_path: Path, scopes: Plan):
        def test() -> None:
            fleet = self.fleet(tmp_path, scopes)
            fleet.clock.advance(2 * HOUR_S)
            fleet.send(0, self.says("down", 2 * HOUR_S))
            for hour in range(22):
                fleet.clock.advance(HOUR_S)
                for host in (0, 1):
                    fleet.through(host, fleet.clock.ms)
                assert self.counts(fleet)[3] == 0, hour
            fleet.clock.advance(HOUR_S)
            fleet.clock.advance(HOUR_S)
            for host in (0, 1):
                fleet.through(host, fleet.clock.ms)
            assert self.counts(fleet)[3] == 1

        run(test)


def test_many_keys_stay_within_memory_and_none_above_the_threshold_is_missed(tmp_path: Path, plan: Plan):
    """6,000 addresses fail once within an hour; 20 among them ten times, spread over 100 s."""

    def test() -> None:
        budget = 200_000
        fleet = Fleet(tmp_path / "l.db", plan, window_bytes=budget)
        lines = [(number * 600, f"10.0.{number >> 8}.{number & 255}") for number in range(6_000)]
        attackers = [f"192.0.2.{number}" for number in range(20)]
        lines += [
            (number * 150_000 + turn * 10_000, attacker)
            for number, attacker in enumerate(attackers)
            for turn in range(10)
        ]
        lines.sort()
        for start in range(0, len(lines), 500):
            part = lines[start : start + 500]
            fleet.clock.ms = START_MS + part[-1][0]
            fleet.send(0, *(failed(START_MS + at_ms, source) for at_ms, source in part))
            assert fleet.lane.window.facts()["window_bytes"] <= budget
        assert fleet.told() == Counter(attackers)
        assert fleet.lane.window.facts()["spilled"] > 3_000

    run(test)


def test_beyond_the_keys_on_disk_the_oldest_are_dropped_counted_and_named(tmp_path: Path, plan: Plan):
    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan, stored_keys=50)
        for number in range(60):
            fleet.clock.advance(1)
            fleet.send(0, failed(fleet.clock.ms, f"10.0.0.{number}"))
        fleet.lane.keep_house()
        dropped = fleet.lane.counts()["windows dropped"]
        assert dropped > 0
        (text,) = fleet.derived()
        assert text.startswith(f"windows dropped: {dropped}, ")
        fleet.lane.kill()
        for _ in range(7):
            fleet.send(0, failed(fleet.clock.ms, "10.0.0.59"))
        assert fleet.told() == Counter({"10.0.0.59": 1}), "the newest are still there"

    run(test)


def test_incidents_are_in_the_alerts(tmp_path: Path, plan: Plan):
    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan, 2)
        for turn in range(40):
            fleet.clock.advance(1)
            fleet.send(turn // 20, failed(fleet.clock.ms, "192.0.2.1", f"user{turn}"))
        fleet.lane.kill()
        incidents = [alert["hids"].get("incident") for alert in fleet.lane.alerts()]
        told = [incident for incident in incidents if incident is not None]
        assert {incident["id"] for incident in told} == {"001-1-8"}
        assert told[0] == {"id": "001-1-8", "key": {"srcip": "192.0.2.1"}, "news": "first"}
        assert all(json.dumps(incident["key"]) == '{"srcip": "192.0.2.1"}' for incident in told)

    run(test)


@pytest.mark.parametrize("correlation", ["compat"])
def test_sequences_need_native_correlation(correlation: Correlation):
    with pytest.raises(Exception, match='sequences and distinct_\\* need correlation = "native"'):
        load("t", "hids", [SourceFile("r.xml", RULES.encode())], correlation=correlation)


def test_when_the_highest_makes_no_alert_the_next_one_speaks(tmp_path: Path):
    text = RULES.replace(
        "<same_srcip /><description>many from", "<options>no_log</options><same_srcip /><description>many from"
    )
    quiet = compile_plan(load("t", "hids", [SourceFile("r.xml", text.encode())]))

    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", quiet)
        for turn in range(8):
            fleet.send(0, failed(START_MS + turn * S, "192.0.2.1", f"user{turn}"))
        assert (fleet.told().total(), fleet.told("200102").total()) == (0, 1)

    run(test)


def test_a_ruleset_that_is_gone_stops_nobody(tmp_path: Path, plan: Plan):
    def test() -> None:
        fleet = Fleet(tmp_path / "l.db", plan)
        fleet.send(0, job(START_MS))
        fleet.clock.advance(27 * HOUR_S)
        fleet.lane.stop()
        other = compile_plan(load("t", "hids", [SourceFile("r.xml", RULES.replace("26 hours", "a day").encode())]))
        fleet.lane = Lane(tmp_path / "l.db", [other], fleet.clock)
        fleet.through(0, fleet.clock.ms)
        assert fleet.told("200104").total() == 0

    run(test)
