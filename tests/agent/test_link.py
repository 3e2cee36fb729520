"""The session with a manager over real TLS: delivery, refusals, lost acknowledgements, silence."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity
from hids.agent import renewal as renewal_module
from hids.agent import spooler as spooler_module
from hids.agent.collector import SourceState
from hids.agent.link import Link
from hids.agent.linkstate import LinkState, Probe
from hids.agent.session import Timing
from hids.messages.agent_link import Configuration, Refused, Restart
from hids.messages.lines import Append, LogLine
from hids.messages.response import Noted, Respond, Responded

FAST = Timing(
    connect_s=2.0,
    heartbeat_s=0.05,
    silence_s=0.5,
    first_pause_s=0.01,
    max_pause_s=0.05,
    refused_pause_s=0.05,
    farewell_s=1.0,
)


class Agent:
    """A link over the spooler of a yard."""

    def __init__(self, yard: Any, folder: Path, timing: Timing = FAST, **options: Any) -> None:
        self.yard = yard
        self.state = LinkState()
        self.sources: dict[str, SourceState] = {}
        mailbox = yard._keep(Mailbox("link"))
        yard.desk.link = mailbox
        arguments = (yard.desk, self.state, self.sources, folder, "machine", SystemClock())
        self.mailbox = mailbox
        Link.start(mailbox, yard.spool, *arguments, timing=timing, **options)
        self.count = 0

    def write(self, count: int, size: int = 10) -> None:
        """Spool so many lines, in one append."""
        lines = tuple(
            LogLine(location="x", text=b"%d " % (self.count + i) + b"." * size, at_ms=1, read_ms=1)
            for i in range(count)
        )
        self.count += count
        self.yard.spool.tell(Append(source="test", lines=lines, positions={}))


def numbers(texts: list[bytes]) -> list[int]:
    return [int(text.split()[0]) for text in texts]


@pytest.fixture
def linked(in_yard: Callable[..., None], manager: Any, tmp_path: Path) -> Callable[..., None]:
    """A function: runs a coroutine function with (agent, manager, until)."""

    def run(scene: Callable[..., Any], timing: Timing = FAST, identity: Identity | None = None, **options: Any) -> None:
        folder = tmp_path / "identity"
        (identity or manager.identity()).write(folder)

        async def main(yard: Any, until: Any) -> None:
            await scene(Agent(yard, folder, timing, **options), manager, until)

        in_yard(main)

    return run


def test_lines_arrive_are_committed_and_leave_the_spool(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        agent.write(1500)
        await until(lambda: len(manager.lines) == 1500)
        assert numbers(manager.texts) == list(range(1500))
        await until(lambda: agent.yard.desk.lines == 0)
        agent.write(1)
        await until(lambda: len(manager.lines) == 1501)
        assert agent.state.connected
        assert (agent.state.agent_id, agent.state.agent_name) == ("001", "web1")
        hello = manager.hellos[0]
        assert (hello.version, hello.machine_id, hello.oldest) == (1, "machine", 1)

    linked(scene)


def test_it_says_goodbye_after_delivering_what_is_left(linked: Callable[..., None], manager: Any, until: Any):
    async def scene(agent: Agent, _: Any, until: Any) -> None:
        await until(lambda: agent.state.connected)
        agent.write(3)

    linked(scene)
    until(lambda: manager.byes == 1)
    assert numbers(manager.texts) == [0, 1, 2]


def test_while_a_batch_is_not_acknowledged_the_next_one_fills(
    linked: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spooler_module, "HOLD_S", 3600.0)

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        desk = agent.yard.desk
        await until(lambda: agent.state.connected)
        assert desk.hurry
        manager.acks = False
        agent.write(1)
        await until(lambda: manager.batches == 1)
        assert not desk.hurry
        for waiting in (1, 2, 3):
            agent.write(1)
            await until(lambda waiting=waiting: len(desk.waiting) == waiting)
        beats = len(manager.heartbeats)
        await until(lambda: len(manager.heartbeats) > beats + 1)
        assert manager.batches == 1
        manager.acks = True  # the heartbeat's acknowledgement, or the next session's welcome
        await until(lambda: numbers(manager.texts) == [0, 1, 2, 3])
        assert manager.batches == 2
        await until(lambda: desk.lines == 0)
        assert desk.hurry

    linked(scene)


def test_nothing_hurries_while_there_is_no_manager(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        await until(lambda: not agent.yard.desk.hurry)  # it was refused
        manager.refusal = None
        await until(lambda: agent.state.connected)
        assert agent.yard.desk.hurry

    def refused(agent: Agent, manager: Any, until: Any) -> Any:
        manager.refusal = Refused(reason="not now", retry_s=0)
        return scene(agent, manager, until)

    linked(refused)


def test_credit_is_kept_but_one_batch_always_goes(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        manager.credit, manager.acks = 1, False
        for _ in range(4):
            agent.write(600)
        await until(lambda: manager.batches == 1)
        await until(lambda: len(manager.heartbeats) > 3)
        assert manager.batches == 1
        manager.acks = True
        await until(lambda: len(manager.lines) == 2400)  # after the silence a new session
        assert numbers(manager.texts) == list(range(2400))

    linked(scene)


def test_a_cut_connection_and_lost_acknowledgements_lose_and_double_nothing(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        for turn in range(6):
            if turn % 2:
                manager.close_after = 2
            else:
                manager.hang_up()
            for _ in range(3):
                agent.write(700)
            await until(lambda turn=turn: len(manager.lines) >= 700 * (turn + 1))
        await until(lambda: len(manager.lines) == agent.count)
        assert numbers(manager.texts) == list(range(agent.count))
        assert len(manager.hellos) > 3
        await until(lambda: agent.yard.desk.lines == 0)

    linked(scene)


def test_a_restored_manager_makes_a_new_epoch_in_which_nothing_is_twice(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        manager.acks = False
        agent.write(1000)
        await until(lambda: len(manager.lines) == 1000)
        first = manager.hellos[-1].epoch
        # It now believes in a history that this spool does not have.
        manager.progress = manager.progress.__class__(first, 5000, b"x" * 32)
        manager.acks = True
        manager.hang_up()
        agent.write(10)
        await until(lambda: len(manager.lines) == 1010)
        assert numbers(manager.texts) == list(range(1010))
        assert manager.hellos[-1].epoch > first
        assert manager.hellos[-1].previous_epoch == first
        await until(lambda: agent.yard.desk.lines == 0)

    linked(scene)


def test_an_agent_that_joined_anew_begins_a_new_history(linked: Callable[..., None], tmp_path: Path):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        agent.write(10)
        await until(lambda: len(manager.lines) == 10 and agent.yard.desk.lines == 0)
        first = manager.hellos[-1].epoch
        manager.identity("002").write(tmp_path / "identity")
        manager.progress = None
        manager.hang_up()
        agent.write(10)
        await until(lambda: len(manager.lines) == 20)
        hello = manager.hellos[-1]
        assert (hello.oldest, hello.previous_epoch) == (1, first)
        manager.hang_up()
        agent.write(10)
        await until(lambda: len(manager.lines) == 30)
        assert manager.hellos[-1].epoch == hello.epoch
        assert numbers(manager.texts) == list(range(30))

    linked(scene)


def test_a_refusal_is_told_and_tried_again(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        manager.refusal = Refused(reason="agent 001 was removed on Tuesday; join again")
        manager.hang_up()
        await until(lambda: len(manager.hellos) > 2)
        await until(lambda: "removed on Tuesday" in agent.state.problem)
        assert not agent.state.connected
        agent.write(5)
        manager.refusal = None
        await until(lambda: len(manager.lines) == 5)
        assert agent.state.problem == ""

    linked(scene)


def test_a_silent_manager_is_left(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        await until(lambda: agent.state.connected)
        manager.silent = True
        await until(lambda: "silent" in agent.state.problem)
        manager.silent = False
        await until(lambda: len(manager.hellos) > 1 and agent.state.connected)

    linked(scene)


def test_heartbeats_tell_how_far_reading_is(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        source = SourceState(name="s", idle=True)
        agent.sources["s"] = source
        await until(lambda: manager.heartbeats and manager.heartbeats[-1].read_through_ms)
        source.idle = False
        count = len(manager.heartbeats)
        await until(lambda: len(manager.heartbeats) > count + 2)
        reached = manager.heartbeats[-1].read_through_ms
        agent.yard.desk.stopped = "spool full"
        count = len(manager.heartbeats)
        await until(lambda: len(manager.heartbeats) > count + 2)
        beat = manager.heartbeats[-1]
        assert (beat.read_through_ms, beat.stopped) == (reached, "spool full")
        assert beat.clock_ms > reached
        agent.yard.desk.stopped = ""

    linked(scene)


def test_a_manager_that_is_not_there_yet(in_yard: Callable[..., None], manager: Any, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    manager.identity(port=port).write(tmp_path / "identity")

    async def scene(yard: Any, until: Any) -> None:
        agent = Agent(yard, tmp_path / "identity")
        agent.write(2)
        await until(lambda: "is the manager running?" in agent.state.problem)
        assert agent.state.manager == f"127.0.0.1:{port}"
        manager.identity().write(tmp_path / "identity")  # joined anew, elsewhere
        await until(lambda: len(manager.lines) == 2)

    in_yard(scene)


def test_a_manager_of_another_ca_gets_nothing(
    in_yard: Callable[..., None], manager: Any, make_manager: Any, tmp_path: Path
):
    other = make_manager(tmp_path / "other")
    manager.identity(port=other.port).write(tmp_path / "identity")

    async def scene(yard: Any, until: Any) -> None:
        agent = Agent(yard, tmp_path / "identity")
        await until(lambda: agent.state.problem)
        assert "not of the CA that this agent joined" in agent.state.problem

    in_yard(scene)
    other.close()
    assert other.hellos == []


@pytest.mark.parametrize(
    "noise", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02{}", b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_nonsense_from_the_manager_ends_the_session_only(
    linked: Callable[..., None], manager: Any, monkeypatch: pytest.MonkeyPatch, noise: bytes
):
    greet = manager._greet
    turns: list[int] = []

    def noisy(hello: Any, writer: asyncio.StreamWriter) -> bool:
        turns.append(1)
        if len(turns) > 1:
            return bool(greet(hello, writer))
        writer.write(noise)
        return True

    monkeypatch.setattr(manager, "_greet", noisy)

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        agent.write(1)
        await until(lambda: len(manager.lines) == 1)

    linked(scene)


def test_a_certificate_that_ends_soon_is_renewed_and_the_new_one_is_used(
    linked: Callable[..., None], manager: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(renewal_module, "RENEW_DAYS", 10_000)
    before = manager.identity()

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        agent.write(10)
        await until(lambda: manager.renewals and len(set(manager.certificates)) > 1)
        after = Identity.read(tmp_path / "identity")
        assert after is not None
        assert after.key != before.key
        agent.write(10)
        await until(lambda: len(manager.lines) == 20)
        assert manager.renewals == 1  # although this one ends soon, too: a clock may be ahead

    linked(scene, identity=before)


def test_another_manager_is_tried_when_the_first_does_not_answer(linked: Callable[..., None], manager: Any):
    real = manager.identity()

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        agent.write(3)
        await until(lambda: len(manager.lines) == 3)
        assert agent.state.manager == f"127.0.0.1:{real.port}"

    linked(scene, address="127.0.0.1:9", others=("[::1]:9", f"127.0.0.1:{real.port}"))


class Upkeep:
    """Takes what the manager asks for."""

    def __init__(self) -> None:
        self.labels = {"site": "berlin"}
        self.shared_version = "v0"
        self.asked: list[Any] = []

    def configure(self, message: Configuration) -> str:
        self.asked.append(message)
        return "" if message.version == "v1" else "no " * 200

    def restart(self, by: str) -> None:
        self.asked.append(by)


def test_the_manager_configures_and_restarts(linked: Callable[..., None]):
    upkeep = Upkeep()

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        manager.pushes = [Configuration("v1", b"x"), Configuration("v2", b"y"), Restart("root")]
        await until(lambda: len(manager.configured) == 2)
        await until(lambda: upkeep.asked[2:] == ["root"])
        assert [said.version for said in manager.configured] == ["v1", "v2"]
        assert manager.configured[0].problem == ""
        assert len(manager.configured[1].problem) == 256
        hello = manager.hellos[0]
        assert (hello.labels, hello.config) == ({"site": "berlin"}, "v0")
        assert set(hello.abilities) == {"renew", "configure", "restart", "syscheck"}

    async def later(agent: Agent, manager: Any, until: Any) -> None:
        await scene(agent, manager, until)

    linked(later, upkeep=upkeep)


class Obedient:
    """Takes orders; what became of them is in `outcomes`."""

    def __init__(self) -> None:
        self.orders: list[tuple[Respond, int]] = []
        self.notes: list[Noted] = []
        self.outcomes: dict[str, Responded] = {}

    def obey(self, message: Respond, offset_ms: int) -> None:
        self.orders.append((message, offset_ms))

    def noted(self, message: Noted) -> None:
        self.notes.append(message)
        self.outcomes.pop(message.order, None)


def test_orders_come_and_outcomes_go_again_in_each_session(linked: Callable[..., None]):
    obedient = Obedient()

    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        order = Respond(b"body", b"signature", b"certificate")
        manager.pushes = [order, Noted("y", "done")]
        obedient.outcomes["x"] = Responded("x", "done", "", 5)
        await until(lambda: obedient.orders and obedient.notes and manager.responded)
        assert obedient.orders[0][0] == order
        assert obedient.orders[0][1] > 1_600_000_000_000, "this manager's clock says 1970"
        assert manager.hellos[0].abilities[-1] == "respond"
        agent.mailbox.wake()
        obedient.outcomes["x"] = Responded("x", "undone", "", 6)
        agent.mailbox.wake()
        await until(lambda: len(manager.responded) == 2)
        manager.hang_up()
        await until(lambda: len(manager.responded) == 3)
        assert [said.state for said in manager.responded] == ["done", "undone", "undone"]
        assert agent.state.peer == "127.0.0.1"

    linked(scene, responses=obedient)


def test_a_probe_is_answered_at_once(linked: Callable[..., None]):
    async def scene(agent: Agent, manager: Any, until: Any) -> None:
        await until(lambda: agent.state.connected)
        heard_s = agent.state.heard_s
        agent.mailbox.tell(Probe())
        await until(lambda: manager.heartbeats and agent.state.heard_s > heard_s)

    linked(scene, timing=Timing(heartbeat_s=3600.0, silence_s=7200.0))
