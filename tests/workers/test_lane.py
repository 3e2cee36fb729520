"""A real lane process over a real channel, killed between any two messages: the same alerts, each exactly once."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import until

from hids.adapters.channel import Channel, open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.ledger import Ledger
from hids.adapters.outbox import Outbox
from hids.adapters.process import Launched, launch
from hids.core.wire.lines import GENESIS, link, unpack
from hids.messages.evaluation import Dropped, EventOut, Outcome, OutcomeBody
from hids.messages.lane import Committed, FromLane, Hole, LaneReady, Notice, Progress
from hids.messages.outputs import Cursors
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec
from hids.messages.supervision import Pulse
from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent, AgentId, SourceId
from hids.workers.inside import EX_SOFTWARE
from hids.workers.lane import EX_DATA

pytestmark = [pytest.mark.slow, pytest.mark.fault]

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
SOURCE = SourceId("agent/007")
BOOT = "boot"
START_MS = SystemClock().now_ms() - 60_000
LINES = 4
"""Of each batch; two of them matter: one is an event that counts, one a file fact."""
NEEDED = 2


def row(rule: int, index: int, feeds: tuple[int, ...] = (), window: WindowSpec | None = None) -> RuleRow:
    return RuleRow(
        id=rule,
        level=5,
        identity=f"identity {index}",
        head=b'{"level":5,"id":"%d",' % rule,
        end=b"}",
        window=window,
        feeds=feeds,
    )


TABLE = RuleTable(
    hash="table",
    name="test",
    slots=("srcip",),
    rules=(row(1, 0, feeds=(1,)), row(2, 1, (), WindowSpec(NEEDED, 60_000, (0,)))),
)
RESIDUAL = ((1, 1, 1, 2), (0, 1, 0, 0), (0, 0, -1, 0))


def outcome(number: int, chain: bytes, *, epoch: int = 1, data: bytes = b"", body: bytes | None = None) -> Outcome:
    """Batch `number` (from 0): one event of one attacker, one new file, and one line that could not be read."""
    first = number * LINES + 1
    at_ms = START_MS + number * 1000
    made = OutcomeBody(
        rulesets=("table",),
        residuals=(RESIDUAL,),
        events=(EventOut(1, at_ms, 0, 0, (b"192.0.2.1",), b'"full_log":"%d"' % number, b"log %d" % number),),
        facts=((2, at_ms, msgspec.msgpack.encode(FileFact(path=f"/etc/{number}", seen="live"))),),
        dropped=(Dropped(3, "poison", b"line"),),
        judged=LINES - 2,
    )
    data = data or b"data %d" % number
    return Outcome(
        source=SOURCE,
        agent=AGENT,
        epoch=epoch,
        first_seq=first,
        count=LINES,
        chain=chain,
        digest=hashlib.sha256(data).digest()[:16],
        worker=1,
        body=msgspec.msgpack.encode(made) if body is None else body,
    )


def outcomes(count: int) -> list[Outcome]:
    made: list[Outcome] = []
    chain = GENESIS
    for number in range(count):
        chain = link(chain, b"data %d" % number)
        made.append(outcome(number, chain))
    return made


def set_aside(number: int) -> bytes:
    """What is told about the last line of batch `number`."""
    return b"line set aside: %d of epoch 1: it ended a process of the manager twice" % ((number + 1) * LINES)


class Lane:
    """What main is to a lane: sends again whatever is not committed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        (folder / "table.msgpack").write_bytes(msgspec.msgpack.encode(TABLE))
        self.process: Launched | None = None
        self.channel: Channel | None = None
        self.ready: LaneReady | None = None
        self.progress: dict[str, Progress] = {}
        self.notices = 0
        self.derived: dict[tuple[str, int], Any] = {}
        self.said: list[Committed] = []
        self.pulses = 0
        self.closed = False

    async def start(self) -> LaneReady:
        self.ready, self.closed = None, False
        options = ("--ledger", str(self.path), "--tables", str(self.folder), "--boot", BOOT)
        process = launch("hids.workers.lane", (*options, "--manager", "boss", "--outputs", "alerts.json"))
        self.process = process
        self.channel = open_channel(process.sock, FromLane, self._got, self._lost)
        ready = await until(lambda: self.ready, "the lane is ready")
        self.progress = dict(ready.progress)
        return ready

    def _got(self, message: LaneReady | Committed | Pulse) -> None:
        match message:
            case LaneReady():
                self.ready = message
                self._derive(message.derived)
            case Committed():
                self.said.append(message)
                self.progress.update(message.progress)
                self.notices = max(self.notices, message.notices)
                self._derive(message.derived)
            case Pulse():
                self.pulses += 1

    def _derive(self, batches: Any) -> None:
        for batch in batches:
            self.derived[batch.source, batch.batch.first_seq] = batch

    def _lost(self) -> None:
        self.closed = True

    def send(self, *messages: Any) -> None:
        assert self.channel is not None
        for message in messages:
            self.channel.send(message)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        process = self.process
        assert process is not None
        assert self.channel is not None
        await until(lambda: process.status() is not None, "the lane has ended")
        self.channel.close()
        await until(lambda: self.closed, "its channel is closed")
        self.process = None
        status = process.status()
        assert status is not None
        return status

    async def stop(self) -> int:
        """EOF, as when main stops."""
        assert self.channel is not None
        self.channel.close()
        return await self.ended()

    def committed(self) -> int:
        now = self.progress.get(SOURCE)
        return now.seq if now is not None else 0

    def alerts(self) -> list[dict[str, Any]]:
        lines = b"".join(row.lines for row in Outbox(self.path).read(0))
        return [json.loads(line) for line in lines.splitlines()]


def run(folder: Path, test: Callable[[Lane], Any]) -> None:
    async def main() -> None:
        lane = Lane(folder)
        try:
            await test(lane)
        finally:
            if lane.process is not None:
                with contextlib.suppress(AssertionError):
                    await lane.kill()

    asyncio.run(main())


def expected_rules(count: int) -> list[str]:
    """Of `count` events of one attacker: two that count, then the one that fires."""
    return ["2" if number % (NEEDED + 1) == NEEDED else "1" for number in range(count)]


COUNT = 9


@pytest.mark.parametrize("moment", ["sent", "gathering", "committed"])
def test_killed_between_any_two_messages_every_alert_comes_exactly_once(tmp_path: Path, moment: str):
    made = outcomes(COUNT)
    notices = [Notice(BOOT, number + 1, AGENT, f"notice {number}", START_MS) for number in range(COUNT)]

    async def test(lane: Lane) -> None:
        await lane.start()
        for number in range(COUNT):
            reached = (number + 1) * LINES
            above = [item for item in made[: number + 1] if item.first_seq > lane.committed()]
            lane.send(*reversed(above), *notices[: number + 1])  # out of order, and all that is not known to be done
            if moment == "gathering":
                await asyncio.sleep(0.004)
            if moment == "committed" or number == COUNT - 1:
                await until(
                    lambda: lane.committed() >= reached and lane.notices == number + 1,  # noqa: B023
                    "all is committed",
                )
            await lane.kill()
            await lane.start()
        assert lane.committed() == COUNT * LINES
        assert await lane.stop() == 0

    run(tmp_path, test)
    lane = Lane(tmp_path)
    alerts = lane.alerts()
    assert [alert["id"] for alert in alerts] == [f"007-1-{number * LINES + 2}" for number in range(COUNT)]
    assert [alert["rule"]["id"] for alert in alerts] == expected_rules(COUNT)
    assert [alert["hids"]["number"] for alert in alerts] == list(range(1, COUNT + 1))
    for rule in ("1", "2"):
        fired = [alert["rule"]["firedtimes"] for alert in alerts if alert["rule"]["id"] == rule]
        assert fired == list(range(1, len(fired) + 1))
    assert [alert.get("previous_output") for alert in alerts if alert["rule"]["id"] == "2"] == [
        f"log {number - 1}\nlog {number - 2}" for number in range(NEEDED, COUNT, NEEDED + 1)
    ]
    store = Ledger(lane.path)
    counts = {what: n for (source, what), n in store.counts().items() if source == SOURCE}
    assert counts == {
        "evaluated": COUNT * (LINES - 1),
        "dropped:poison": COUNT,
        "alerts": COUNT,
        "facts": COUNT,
    }
    derived = {
        source: [line.text for batch in batches for line in unpack(batch.batch.data, batch.batch.count)]
        for source, batches in itertools.groupby(store.derived(), key=lambda batch: batch.source)
    }
    derived["derived/agent/007"].sort(key=lambda text: text.startswith(b"line"))
    assert derived == {
        "derived/agent/007": [
            *(b"notice %d" % number for number in range(COUNT)),
            *(set_aside(number) for number in range(COUNT)),
        ],
        "derived/syscheck/007": [b"File '/etc/%d' added" % number for number in range(COUNT)],
    }
    assert store.progress() == {SOURCE: Progress(1, COUNT * LINES, made[-1].chain)}
    store.close()


def test_what_is_told_is_what_is_on_disk(tmp_path: Path):
    async def test(lane: Lane) -> None:
        ready = await lane.start()
        assert ready == LaneReady({}, (), 1)
        lane.send(*outcomes(3))
        await until(lambda: lane.committed() == 3 * LINES, "all is committed")
        assert lane.said[-1].outbox_next == 4
        told = dict(lane.derived)
        assert sum(batch.batch.count for batch in told.values()) == 6
        await until(lambda: lane.pulses > 0, "it tells its pulse")
        await lane.kill()
        lane.derived.clear()
        again = await lane.start()
        assert again.progress == {SOURCE: Progress(1, 3 * LINES, outcomes(3)[-1].chain)}
        assert again.outbox_next == 4
        await until(lambda: lane.derived == told, "what is derived is told again")

    run(tmp_path, test)


def test_what_comes_before_the_end_of_the_channel_is_whole_or_not_at_all(tmp_path: Path):
    async def test(lane: Lane) -> None:
        await lane.start()
        lane.send(*outcomes(30))
        assert await lane.stop() == 0

    run(tmp_path, test)
    store = Ledger(tmp_path / "ledger.db")
    done = store.progress().get(SOURCE, Progress(0, 0, b"")).seq
    assert done % LINES == 0
    assert store.next_alert() - 1 == done // LINES
    store.close()


def test_a_hole_is_committed_and_told_once(tmp_path: Path):
    made = outcomes(4)

    async def test(lane: Lane) -> None:
        await lane.start()
        hole = Hole(SOURCE, AGENT, 1, LINES + 1, 2 * LINES, made[1].chain, "the agent no longer has them")
        lane.send(made[0], made[2], made[3])
        await until(lambda: lane.committed() == LINES, "the first is committed")
        lane.send(hole, hole)
        await until(lambda: lane.committed() == 4 * LINES, "what waited behind it is committed")
        await lane.kill()
        await lane.start()
        lane.send(hole, made[3], Notice(BOOT, 1, AGENT, "last", START_MS))
        await until(lambda: lane.notices == 1, "all is handled")

    run(tmp_path, test)
    store = Ledger(tmp_path / "ledger.db")
    lines = [
        line.text
        for batch in store.derived()
        if batch.source == "derived/agent/007"
        for line in unpack(batch.batch.data, batch.batch.count)
    ]
    lost = b"lines lost: 5 to 8 of epoch 1: the agent no longer has them"
    assert lines == [set_aside(0), lost, set_aside(2), set_aside(3), b"last"]
    assert store.counts()[SOURCE, "lost"] == LINES
    store.close()


def test_batches_that_come_again_in_a_new_epoch_are_counted_and_not_evaluated(tmp_path: Path):
    async def test(lane: Lane) -> None:
        await lane.start()
        lane.send(*outcomes(2))
        await until(lambda: lane.committed() == 2 * LINES, "the old epoch is committed")
        again = [outcome(0, b"x" * 32, epoch=2, data=b"data 1"), outcome(1, b"y" * 32, epoch=2, data=b"data new")]
        lane.send(*again)
        await until(lambda: lane.progress[SOURCE] == Progress(2, 2 * LINES, b"y" * 32), "the new one too")

    run(tmp_path, test)
    store = Ledger(tmp_path / "ledger.db")
    assert store.counts()[SOURCE, "known"] == LINES
    assert len(Lane(tmp_path).alerts()) == 3
    store.close()


def test_a_program_that_says_the_same_many_times_at_once_is_heard_each_time(tmp_path: Path):
    """Batches of the same bytes in one epoch are other lines."""

    async def test(lane: Lane) -> None:
        await lane.start()
        lane.send(*(outcome(number, b"%032d" % number, epoch=7, data=b"the same") for number in range(3)))
        await until(lambda: lane.committed() == 3 * LINES, "all is committed")
        lane.send(outcome(3, b"%032d" % 3, epoch=7, data=b"the same"))
        await until(lambda: lane.committed() == 4 * LINES, "one more, in a later group")

    run(tmp_path, test)
    assert len(Lane(tmp_path).alerts()) == 4


def test_alerts_go_when_their_output_has_them(tmp_path: Path):
    async def test(lane: Lane) -> None:
        await lane.start()
        lane.send(*outcomes(3))
        await until(lambda: lane.committed() == 3 * LINES, "all is committed")
        groups = len(lane.said)
        lane.send(Cursors({"alerts.json": 3, "a stranger": 1}))
        await until(lambda: len(lane.said) > groups, "the cursor is committed")
        assert lane.alerts() == []
        await lane.kill()
        assert (await lane.start()).outbox_next == 4

    run(tmp_path, test)


def test_a_failure_inside_ends_the_process_and_leaves_what_was_committed(tmp_path: Path):
    async def test(lane: Lane) -> None:
        await lane.start()
        made = outcomes(2)
        lane.send(made[0])
        await until(lambda: lane.committed() == LINES, "the first is committed")
        lane.send(msgspec.structs.replace(made[1], body=b"nonsense"))
        assert await lane.ended() == EX_SOFTWARE
        ready = await lane.start()
        assert ready.progress[SOURCE].seq == LINES
        lane.send(made[1])
        await until(lambda: lane.committed() == 2 * LINES, "the next lane goes on")

    run(tmp_path, test)


def test_a_damaged_ledger_ends_it_with_a_status_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 300)

    async def test(lane: Lane) -> None:
        with contextlib.suppress(AssertionError):
            lane.process = launch(
                "hids.workers.lane",
                ("--ledger", str(lane.path), "--tables", "x", "--boot", "b", "--manager", "m", "--outputs", "o"),
            )
        lane.channel = open_channel(lane.process.sock, FromLane, lane._got, lane._lost)
        assert await lane.ended() == EX_DATA

    run(tmp_path, test)
    sys.stderr.flush()
    assert "move the file away and start again" in capfd.readouterr().err
