"""The agent's responder: signed orders only, each once, undone in time, undone when it cuts us off, whatever crashes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import SetClock, until

from hids.actors.stage import Mailbox
from hids.adapters.order_signing import OrderSigner
from hids.adapters.pki import Authority
from hids.agent.responder import Arrived, Outcomes, Responder
from hids.agent.response.program import ActionFailed
from hids.agent.response.store import AgentResponseStore, Held
from hids.core.collect.config import ResponseConfig
from hids.core.response.guard import Surroundings
from hids.core.response.order import pack
from hids.errors import StoreError
from hids.messages.lines import Append
from hids.messages.response import Noted, Respond, ResponseOrder

GATEWAY = "10.0.0.1"


class World:
    """What actions change: who is blocked."""

    def __init__(self) -> None:
        self.blocked: dict[str, float] = {}
        self.done: list[tuple[str, str, str]] = []
        self.fails = ""

    def action(self, name: str) -> "Fake":
        if name == "none":
            raise ActionFailed("there is no such script on this agent")
        return Fake(self, name)


class Fake:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.repeatable = not name.endswith(".sh")

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        await asyncio.sleep(0)
        if self._world.fails:
            raise ActionFailed(self._world.fails)
        self._world.done.append(("add", self._name, order.address))
        self._world.blocked[order.address] = left_s

    async def delete(self, order: ResponseOrder) -> None:
        await asyncio.sleep(0)
        if self._world.fails:
            raise ActionFailed(self._world.fails)
        self._world.done.append(("delete", self._name, order.address))
        self._world.blocked.pop(order.address, None)


class Line:
    """The session: heard again when it is probed, unless it is cut."""

    def __init__(self, clock: SetClock) -> None:
        self._clock = clock
        self.heard_s = 0.0
        self.cut = False
        self.probes = 0

    def probe(self) -> None:
        self.probes += 1
        if not self.cut:
            self.heard_s = self._clock.s

    def outcomes_wait(self) -> None:
        """Somebody reads them anyway."""


class Bench:
    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.clock = SetClock()
        self.world = World()
        self.line = Line(self.clock)
        self.outcomes = Outcomes()
        self.spool = Mailbox("spool", 1000)
        self.config = ResponseConfig(enabled=True, **config)
        self.authority = Authority.open_or_create(folder / "ca", self.clock)
        self.signer = OrderSigner.read(self.authority.responses_file())
        self.start()

    def start(self) -> None:
        self.mailbox = Mailbox("responder", 1000)
        self.failures: list[str | None] = []
        self.mailbox.on_exit = lambda exited: self.failures.append(exited.failure)
        Responder.start(
            self.mailbox,
            self.spool,
            self.folder,
            self.config,
            self.world.action,
            lambda: ("001", self.authority.ca_pem),
            lambda: Surroundings(gateways=(GATEWAY,)),
            self.line,
            self.outcomes,
            self.clock,
        )

    async def crash(self) -> None:
        """The life is over, as a crash would have it; what is on disk stays."""
        self.mailbox.shut_down()
        await until(lambda: self.failures, "it ends")
        self.outcomes = Outcomes()

    def order(self, number: int = 1, address: str = "192.0.2.7", seconds: float = 600, **fields: Any) -> ResponseOrder:
        return ResponseOrder(
            **{
                "id": f"a{number}:drop:001", "agent": "001", "response": "drop", "command": "firewall-drop",
                "action": "firewall-drop", "address": address, "issued_ms": self.clock.ms, "alert": f"a{number}",
                "until_ms": self.clock.ms + int(seconds * 1000) if seconds else 0, "why": "brute force",
            }
            | fields
        )  # fmt: skip

    async def give(self, *orders: ResponseOrder | Respond, offset_ms: int = 0) -> None:
        for order in orders:
            respond = order if isinstance(order, Respond) else self.signer.sign(order)
            self.mailbox.tell(Arrived(respond, offset_ms))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    async def wait(self, seconds: float) -> None:
        """Let time pass, and have it look."""
        self.clock.advance(seconds)
        self.mailbox.wake()
        await self.settle()

    def states(self) -> dict[str, str]:
        return {order: said.state for order, said in self.outcomes.waiting.items()}

    def audit(self) -> list[str]:
        lease, found = self.spool.lease(lambda: None), []
        while self.spool.depth:
            found.append(lease.get().message)
        assert all(isinstance(message, Append) for message in found)
        return [line.text.decode() for message in found for line in message.lines]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """A function: runs a scene with a bench; nothing may have failed."""

    def go(scene: Callable[[Bench], Any], **config: Any) -> None:
        async def main() -> None:
            bench = Bench(tmp_path, **config)
            await scene(bench)
            await bench.crash()
            assert bench.failures == [None]

        asyncio.run(main())

    return go


def test_an_order_is_done_told_and_undone_in_time(run):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(seconds=600))
        assert bench.world.blocked == {"192.0.2.7": 60}, "for a trial only, until the manager is heard"
        assert bench.states() == {"a1:drop:001": "done"}
        (line,) = bench.audit()
        assert line.startswith("done add firewall-drop - 192.0.2.7 - - id=a1:drop:001 until=")
        await bench.wait(0.5)
        await bench.wait(1.0)
        assert bench.world.blocked["192.0.2.7"] == pytest.approx(598.5)
        await bench.wait(598)
        assert bench.world.blocked
        await bench.wait(1)
        assert not bench.world.blocked
        assert bench.states() == {"a1:drop:001": "undone"}
        assert bench.audit()[0].startswith("undone delete firewall-drop - 192.0.2.7 ")

    run(scene)


def test_the_same_order_is_done_once_and_answered_again_until_it_is_noted(run):
    async def scene(bench: Bench) -> None:
        signed = bench.signer.sign(bench.order())
        await bench.give(signed, signed, signed)
        adds = [what for what, *_ in bench.world.done]
        assert adds == ["add"]
        bench.mailbox.tell(Noted("a1:drop:001", "done"))
        await bench.settle()
        assert bench.states() == {}
        await bench.crash()
        bench.start()
        await bench.settle()
        assert bench.states() == {}, "it knows that the manager knows"
        await bench.give(signed)
        assert bench.states() == {"a1:drop:001": "done"}, "the manager asks again: it has forgotten"

    run(scene)


def test_only_what_the_manager_signed_for_us(run, tmp_path: Path):
    async def scene(bench: Bench) -> None:
        other = Authority.open_or_create(tmp_path / "other", bench.clock)
        good = bench.signer.sign(bench.order())
        tampered = pack(bench.order(address="192.0.2.8"))
        await bench.give(
            OrderSigner.read(other.responses_file()).sign(bench.order()),
            msgspec.structs.replace(good, body=tampered),
            bench.signer.sign(bench.order(agent="002")),
            Respond(b"rubbish", b"", b""),
        )
        assert not bench.world.done
        assert not bench.outcomes.waiting
        lines = bench.audit()
        assert len(lines) == 3
        assert all(line.startswith("forged add ") for line in lines)
        assert "it is for agent 002" in lines[2]

    run(scene)


def test_this_agents_own_guard_rails(run):
    async def scene(bench: Bench) -> None:
        await bench.give(
            bench.order(1, GATEWAY),
            bench.order(2, "127.0.0.1"),
            bench.order(3, "198.51.100.9"),
            bench.order(4, seconds=-1),
            bench.order(5, "", user="root", action="disable-account"),
            *(bench.order(number, f"203.0.113.{number}") for number in range(10, 13)),
        )
        reasons = {order: said.text for order, said in bench.outcomes.waiting.items() if said.state == "refused"}
        assert "a gateway" in reasons["a1:drop:001"]
        assert "loopback" in reasons["a2:drop:001"]
        assert "the allowed range" in reasons["a3:drop:001"]
        assert "its end is past" in reasons["a4:drop:001"]
        assert "an allowed user" in reasons["a5:drop:001"]
        assert "max_active" in reasons["a12:drop:001"]
        assert set(bench.world.blocked) == {"203.0.113.10", "203.0.113.11"}
        assert sum(line.startswith("refused ") for line in bench.audit()) == 6

    run(scene, allow=("198.51.100.0/24",), max_active=2)


def test_a_block_after_which_the_manager_is_not_heard_is_undone(run):
    async def scene(bench: Bench) -> None:
        bench.line.cut = True
        await bench.give(bench.order())
        await bench.wait(29)
        assert bench.world.blocked
        assert bench.line.probes >= 2
        await bench.wait(1)
        assert not bench.world.blocked
        assert bench.states() == {"a1:drop:001": "undone"}
        assert "was not heard within 30 s" in bench.outcomes.waiting["a1:drop:001"].text
        assert bench.audit()[-1].startswith("cut-off delete ")

    run(scene)


def test_a_crash_before_it_is_proven_begins_the_trial_anew(run):
    async def scene(bench: Bench) -> None:
        bench.line.cut = True
        await bench.give(bench.order())
        await bench.crash()
        bench.start()
        await bench.settle()
        await bench.wait(30)
        assert not bench.world.blocked

    run(scene)


def test_fifty_blocks_of_different_ends_outlive_every_crash(run):
    async def scene(bench: Bench) -> None:
        await bench.give(*(bench.order(n, f"198.51.100.{n}", seconds=10 * n) for n in range(1, 51)))
        await bench.wait(1)
        assert len(bench.world.blocked) == 50
        for crash in range(1, 11):
            await bench.crash()
            bench.world.blocked.clear()  # and the machine starts anew
            bench.clock.advance(50)
            bench.start()
            await bench.settle()
            await bench.wait(0)
            left = {f"198.51.100.{n}" for n in range(1, 51) if 10 * n > 50 * crash + 1}
            assert set(bench.world.blocked) == left
        assert set(bench.states().values()) == {"undone"}
        assert len(bench.states()) == 50

    run(scene)


def test_two_orders_about_one_address_end_with_the_later(run):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(1, seconds=60), bench.order(2, seconds=120))
        await bench.wait(1)
        await bench.wait(60)
        assert bench.states()["a1:drop:001"] == "undone"
        assert bench.world.blocked
        await bench.wait(60)
        assert not bench.world.blocked

    run(scene)


def test_a_person_frees_an_address_whatever_ordered_it(run):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(1, seconds=0), bench.order(2, seconds=60))
        undo = msgspec.structs.replace(bench.order(1), undo=True, why="undone by root")
        await bench.give(undo)
        assert not bench.world.blocked
        assert set(bench.states().values()) == {"undone"}
        await bench.give(undo, msgspec.structs.replace(bench.order(9), undo=True))
        assert bench.states()["a9:drop:001"] == "undone", "what is not in force is undone"

    run(scene)


def test_what_fails_is_told_and_what_cannot_be_undone_is_tried_on(run):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(1, action="none"))
        assert bench.states() == {"a1:drop:001": "failed"}
        await bench.give(bench.order(2, seconds=60))
        await bench.wait(1)
        bench.world.fails = "it is full"
        await bench.wait(60)
        await bench.wait(10)
        assert bench.world.blocked
        assert sum(line.startswith("failed delete ") for line in bench.audit()) == 1
        bench.world.fails = ""
        await bench.wait(10)
        assert not bench.world.blocked
        assert bench.states()["a2:drop:001"] == "undone"

    run(scene)


def test_the_managers_clock_is_not_ours(run):
    async def scene(bench: Bench) -> None:
        hour_ms = 3_600_000
        order = bench.order(seconds=60)
        ahead = msgspec.structs.replace(order, issued_ms=order.issued_ms + hour_ms, until_ms=order.until_ms + hour_ms)
        await bench.give(ahead, offset_ms=-hour_ms)
        await bench.wait(1)
        await bench.wait(58)
        assert bench.world.blocked
        await bench.wait(1)
        assert not bench.world.blocked

    run(scene)


def test_a_script_that_was_under_way_when_the_agent_died_is_undone_and_not_repeated(run):
    async def scene(bench: Bench) -> None:
        await bench.crash()
        store = AgentResponseStore(bench.folder / "responses.db")
        for number, action in enumerate(("act.sh", "firewall-drop"), 1):
            order = bench.order(number, action=action)
            store.put(Held(order.id, pack(order), "taken", until_ms=order.until_ms))
        store.close()
        bench.start()
        await bench.settle()
        assert bench.world.done[:2] == [("delete", "act.sh", "192.0.2.7"), ("add", "firewall-drop", "192.0.2.7")]
        assert bench.states() == {"a1:drop:001": "undone", "a2:drop:001": "done"}

    run(scene)


def test_what_cannot_be_noted_is_not_done_and_what_is_over_is_undone_all_the_same(run, monkeypatch: pytest.MonkeyPatch):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(1, seconds=60))
        await bench.wait(1)

        def full(*_: Any) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(AgentResponseStore, "put", full)
            await bench.give(bench.order(2, "192.0.2.8"))
            assert set(bench.world.blocked) == {"192.0.2.7"}
            await bench.wait(60)
            assert not bench.world.blocked
            assert bench.states() == {"a1:drop:001": "done"}
        await bench.wait(5)
        assert bench.states() == {"a1:drop:001": "undone"}

    run(scene)


def test_what_happens_once_is_not_undone_and_not_in_force(run):
    async def scene(bench: Bench) -> None:
        await bench.give(bench.order(1, seconds=0, action="page.sh", once=True))
        assert bench.states() == {"a1:drop:001": "done"}
        bench.mailbox.tell(Noted("a1:drop:001", "done"))
        await bench.wait(1)
        assert bench.states() == {}
        assert bench.mailbox.facts()["in_force"] == 0
        await bench.crash()
        bench.start()
        await bench.settle()
        assert bench.world.done == [("add", "page.sh", "192.0.2.7")]

    run(scene)
