"""Real nursery, real workers: jobs are answered, a killed or hung worker is noticed, rules change without a gap."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import SetClock, settle, until

from hids.actors.child_process import Check
from hids.actors.dispatcher import WorkerLost, WorkerUp
from hids.actors.nursery import Nursery, Reload
from hids.actors.stage import Exited, Mailbox
from hids.actors.worker_link import STATUS_PATIENCE_S, WorkerLink
from hids.adapters.channel import Channel, open_channel
from hids.adapters.markpage import MarkPage
from hids.adapters.process import Launched, ended, kill, launch
from hids.core.wire.lines import GENESIS, link, pack
from hids.messages.evaluation import FromWorker, Job, Outcome, OutcomeBody
from hids.messages.lines import Batch, LogLine
from hids.messages.nursery import NurseryReady
from hids.messages.rule_table import RuleTable
from hids.messages.terms import Agent, AgentId, SourceId
from hids.workers.nursery import Folder

pytestmark = [pytest.mark.slow, pytest.mark.fault]

RULES = """
<decoder name="demo">
  <program_name>^demo$</program_name>
</decoder>

<group name="demo,">
  <rule id="{rule}" level="5">
    <decoded_as>demo</decoded_as>
    <match>alarm</match>
    <description>An alarm of the demo</description>
  </rule>
</group>
"""
AGENT = Agent(AgentId("007"), "web1", "")


def job(first: int = 1, lines: int = 3) -> Job:
    text = b"Nov 24 03:21:42 web1 demo[1]: alarm"
    data = pack([LogLine("/var/log/x", text, 1, 1)] * lines)
    return Job(SourceId("agent/007"), AGENT, Batch(1, first, lines, link(GENESIS, data), data), 1)


class Bench:
    """A nursery and one link; what the link tells the dispatcher is noted."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        self.write(200100)
        self.tables = folder / "tables"
        self.tables.mkdir()
        self.clock = SetClock()
        self.nursery, self.link, self.dispatcher = Mailbox("nursery"), Mailbox("worker-1"), Mailbox("dispatcher", 1000)
        self.exits: list[Exited] = []
        self.link.on_exit = self.nursery.on_exit = self.exits.append
        self.ready: list[NurseryReady] = []
        self.refused: list[tuple[str, ...]] = []
        self.reloads: list[tuple[str, ...]] = []
        self.launched: list[Launched] = []
        self.outcomes: list[Outcome] = []
        self.lost: list[WorkerLost] = []
        self.ups: list[WorkerUp] = []
        self.start_nursery()
        self.start_link()

    def write(self, rule: int, text: str = RULES) -> None:
        (self.rules / "demo.xml").write_text(text.format(rule=rule))

    def start_nursery(self) -> None:
        Nursery.start(
            self.nursery,
            self.launch,
            self.ready.append,
            self.refused.append,
            lambda: (self.link,),
            ended,
            self.clock,
            pulse_limit_s=15,
            loading_limit_s=60,
        )

    def start_link(self) -> None:
        WorkerLink.start(
            self.link, 1, self.nursery, self.dispatcher, _connect, MarkPage.new, kill, ended, self.clock, stuck_s=5
        )

    def reload(self) -> Launched:
        return self.launch("--reloads")

    def launch(self, *more: str) -> Launched:
        rulesets = msgspec.json.encode([Folder("demo", str(self.rules), "hids")]).decode()
        options = ("--tables", str(self.tables), "--manager", "boss", "--rulesets", rulesets, *more)
        self.launched.append(launch("hids.workers.nursery", options, datagrams=True))
        return self.launched[-1]

    def look(self) -> bool:
        """Read what the dispatcher was told."""
        while not self.dispatcher.empty():
            match self.dispatcher.take(self.dispatcher.life, wait=False).message:
                case Outcome() as outcome:
                    self.outcomes.append(outcome)
                case WorkerLost() as lost:
                    self.lost.append(lost)
                case WorkerUp() as up:
                    self.ups.append(up)
        return True

    def send(self, *jobs: Job) -> None:
        self.look()
        for given in jobs:
            self.ups[-1].send(given)

    async def answered(self, count: int) -> None:
        await until(lambda: self.look() and len(self.outcomes) >= count, f"{count} jobs are answered", 10)

    @property
    def pid(self) -> int:
        return int(self.link.facts()["pid"])

    async def worker(self) -> int:
        return await until(lambda: self.pid, "a worker is there", 10)

    def rule_ids(self) -> list[set[int]]:
        """Which rules each outcome's events end at."""
        found: list[set[int]] = []
        for outcome in self.outcomes:
            body = msgspec.msgpack.decode(outcome.body, type=OutcomeBody)
            table = msgspec.msgpack.decode((self.tables / f"{body.rulesets[0]}.msgpack").read_bytes(), type=RuleTable)
            found.append({table.rules[body.residuals[event.residual][0][1]].id for event in body.events})
        return found

    async def check(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.link.tell_life(self.link.life, Check())
            await settle()


def _connect(sock: Any, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(sock, FromWorker, got, closed)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Bench], Any]], None]:
    def go(test: Callable[[Bench], Any]) -> None:
        async def main() -> None:
            bench = Bench(tmp_path)
            try:
                await test(bench)
            finally:
                bench.link.shut_down()
                await settle()
                bench.nursery.shut_down()
                await settle()
                for process in bench.launched:
                    process.kill()
                with contextlib.suppress(AssertionError):
                    await until(
                        lambda: all(process.status() is not None for process in bench.launched), "nothing is left"
                    )

        asyncio.run(main())

    return go


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_are_answered_in_order_even_those_given_before_there_is_a_worker(run: Any):
    async def test(bench: Bench) -> None:
        bench.send(job(1), job(4), job(7, 1))
        await bench.answered(3)
        assert [(outcome.first_seq, outcome.count, outcome.worker) for outcome in bench.outcomes] == [
            (1, 3, 1),
            (4, 3, 1),
            (7, 1, 1),
        ]
        assert bench.rule_ids() == [{200100}] * 3
        assert [ruleset[0] for ruleset in bench.ready[0].rulesets] == ["demo"]
        assert (bench.lost, bench.exits) == ([], [])

    run(test)


def test_a_killed_worker_is_told_with_its_job_and_replaced_once(run: Any):
    async def test(bench: Bench) -> None:
        first = await bench.worker()
        bench.send(job(1))
        await bench.answered(1)
        os.kill(first, signal.SIGSTOP)
        bench.send(job(4), job(7))
        os.kill(first, signal.SIGKILL)
        await until(lambda: bench.exits, "the link fails")
        assert bench.exits[0].failure == "ProcessDied: killed by SIGKILL"
        bench.look()
        assert [lost.worker for lost in bench.lost] == [1]
        bench.start_link()
        second = await bench.worker()
        assert second != first
        bench.send(job(4))
        await bench.answered(2)
        loop = asyncio.get_running_loop()
        over = loop.time() + 2 * STATUS_PATIENCE_S
        await until(lambda: loop.time() > over, "the patience of the life before is over")
        bench.look()
        assert (len(bench.exits), len(bench.lost), is_alive(second)) == (1, 1, True)

    run(test)


def test_a_hung_worker_is_killed_and_its_line_is_named(run: Any):
    async def test(bench: Bench) -> None:
        pid = await bench.worker()
        bench.send(job(1))
        await bench.answered(1)
        os.kill(pid, signal.SIGSTOP)
        await bench.check(20)
        assert is_alive(pid), "without a job nobody waits for it"
        bench.send(job(4))
        await bench.check(5)
        assert bench.exits == []
        await bench.check(2)
        await until(lambda: bench.exits, "it is killed")
        assert bench.exits[0].failure == "ProcessDied: killed by SIGKILL"

    run(test)


def test_new_rules_come_without_a_gap_and_the_old_worker_answers_what_it_has(run: Any):
    async def test(bench: Bench) -> None:
        old = await bench.worker()
        os.kill(old, signal.SIGSTOP)
        bench.send(job(1))
        bench.write(200200)
        bench.nursery.tell(Reload(bench.launch, bench.reloads.append))
        await until(lambda: bench.reloads == [()], "the new rules are in use", 10)
        await until(lambda: bench.pid not in (0, old), "there is a new worker")
        bench.send(job(4))
        await bench.answered(1)
        os.kill(old, signal.SIGCONT)
        await bench.answered(2)
        assert [outcome.first_seq for outcome in bench.outcomes] == [4, 1]
        assert bench.rule_ids() == [{200200}, {200100}]
        await until(lambda: bench.launched[0].status() is not None, "the old nursery goes")
        await until(lambda: not is_alive(old), "and its worker")
        assert (bench.lost, bench.exits) == ([], [])

    run(test)


def test_an_old_worker_that_hangs_is_killed_too(run: Any):
    async def test(bench: Bench) -> None:
        old = await bench.worker()
        os.kill(old, signal.SIGSTOP)
        bench.send(job(1))
        bench.nursery.tell(Reload(bench.launch, bench.reloads.append))
        await until(lambda: bench.pid not in (0, old), "there is a new worker", 10)
        await bench.check(8)
        await until(lambda: not is_alive(old), "the old one is killed")
        await until(lambda: bench.exits, "its job is given back")
        bench.look()
        assert len(bench.lost) == 1

    run(test)


def test_bad_rules_change_nothing(run: Any):
    async def test(bench: Bench) -> None:
        pid = await bench.worker()
        bench.write(0, "<group name='x'><rule id='{rule}'></group>")
        bench.nursery.tell(Reload(bench.reload, bench.reloads.append))
        bench.nursery.tell(Reload(bench.reload, bench.reloads.append))
        await until(lambda: len(bench.reloads) == 2, "both are answered", 10)
        assert bench.reloads[0] == ("a reload is under way; try again when it is done",)
        assert "demo.xml:1" in bench.reloads[1][0]
        bench.send(job(1))
        await bench.answered(1)
        assert (bench.pid, bench.refused, bench.exits) == (pid, [], [])

    run(test)


def test_a_killed_nursery_takes_its_workers_along_and_all_come_back(run: Any):
    async def test(bench: Bench) -> None:
        pid = await bench.worker()
        bench.launched[0].kill()
        await until(lambda: len(bench.exits) == 2, "both are noticed", 10)
        assert {exited.name: exited.failure for exited in bench.exits} == {
            "nursery": "ProcessDied: killed by SIGKILL",
            "worker-1": "ProcessDied: its process is gone",
        }
        await until(lambda: not is_alive(pid), "the worker has gone along")
        bench.start_link()
        bench.start_nursery()
        bench.send(job(1))
        await bench.answered(1)

    run(test)


def test_the_first_rules_being_bad_is_told_with_all_problems(tmp_path: Path):
    async def main() -> None:
        bench = Bench(tmp_path)
        for process in bench.launched:
            process.kill()
        bench.nursery.shut_down()
        await settle()
        bench.nursery = Mailbox("nursery")
        bench.write(0, "<group name='x'><rule id='{rule}'></group>")
        bench.start_nursery()
        await until(lambda: bench.refused, "they are refused", 10)
        assert "demo.xml" in bench.refused[0][0]
        bench.link.shut_down()
        bench.nursery.shut_down()
        await until(lambda: all(process.status() is not None for process in bench.launched), "nothing is left")

    asyncio.run(main())
