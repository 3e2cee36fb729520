"""The responder over a real store: what is decided is given once, whatever is repeated, and people can undo it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from waiting import SetClock, settle

from hids.actors.responder import OUTPUT, Responder, Tick
from hids.actors.stage import Mailbox
from hids.adapters.order_signing import OrderSigner
from hids.adapters.outbox import Outbox
from hids.adapters.pki import Authority
from hids.adapters.responses import ResponseStore
from hids.core.response.guard import Surroundings
from hids.core.response.order import unpack
from hids.core.response.policy import Policy, Response, ResponseLimits
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.responder import (
    Enlisted,
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
    Roster,
)
from hids.messages.response import Noted, Responded
from hids.messages.terms import AgentId

WEB1 = Enlisted(AgentId("007"), "web1", ("10.0.0.1",))
OLD = Enlisted(AgentId("008"), "old1", (), legacy=True)
ROSTER = Roster((WEB1, OLD))


class Bench:
    """A responder over an outbox, and all that it says."""

    def __init__(self, folder: Path, fill: Any, make_lines: Any, **limits: Any) -> None:
        self.folder = folder
        self.clock = SetClock()
        self.said: list[Any] = []
        self._fill = fill
        self._make = make_lines
        self._next = 1
        self.policy = Policy(
            limits=ResponseLimits(**limits), responses=(Response(command="firewall-drop", name="drop", level=5),)
        )
        self.key = Authority.open_or_create(folder / "ca", self.clock).responses_file()
        self.lives: list[ResponseStore] = []
        self.start()

    def start(self) -> None:
        store = ResponseStore(self.folder / "responses.db")
        self.lives.append(store)
        self.mailbox = Mailbox(OUTPUT, 1000)
        Responder.start(
            self.mailbox,
            self.policy,
            (),
            store,
            Outbox(self.folder / "ledger.db"),
            OrderSigner.read(self.key).sign,
            lambda: Surroundings(gateways=("192.0.2.1",)),
            self.clock,
            self.said.append,
        )

    async def begin(self) -> None:
        await self.tell(Outboxed(self._next), ROSTER)

    async def tell(self, *messages: Any) -> None:
        for message in messages:
            self.mailbox.tell(message)
        await settle(100)

    async def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.mailbox.tell_life(self.mailbox.life, Tick())
        await settle(100)

    async def alert(self, *addresses: str) -> None:
        facts = {"at_ms": self.clock.ms, "source": "agent/007", "seq": 1, "epoch": 1}
        for address in addresses:
            hids = facts | {"number": self._next}
            lines = self._make(self._next, data={"srcip": address}, hids=hids)
            self._fill(self.folder / "ledger.db", [lines], self._next)
            self._next += 1
        await self.tell(Outboxed(self._next))

    def of(self, kind: type) -> list[Any]:
        """What was said of one kind, once."""
        found = [message for message in self.said if isinstance(message, kind)]
        self.said[:] = [message for message in self.said if not isinstance(message, kind)]
        return found

    @property
    def store(self) -> ResponseStore:
        return self.lives[-1]


@pytest.fixture
def run(tmp_path: Path, fill_outbox: Any, make_lines: Any) -> Any:
    """A function: runs a scene with a bench."""

    def go(scene: Any, **limits: Any) -> None:
        async def main() -> None:
            bench = Bench(tmp_path, fill_outbox, make_lines, **limits)
            try:
                await scene(bench)
            finally:
                for store in bench.lives:
                    store.close()

        asyncio.run(main())

    return go


def test_an_alert_becomes_a_signed_order_once(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert("192.0.2.7")
        (ordered,) = bench.of(Ordered)
        order = unpack(ordered.respond.body)
        assert (order.address, order.agent, order.id) == ("192.0.2.7", "007", "007-1-1:drop:007")
        await bench.tick(1)
        assert bench.of(Cursors)[-1].positions == {OUTPUT: 1}
        await bench.tell(Outboxed(2), Outboxed(2), ROSTER)
        await bench.tick(1)
        assert not bench.of(Ordered)
        assert not bench.of(Cursors), "nothing is new: telling it would make news"
        await bench.tell(Roster(ROSTER.agents, anew=True))
        assert bench.of(Ordered) == [ordered], "the desk began anew"

        # A life that begins anew, with the same alerts before it: what is open is given again, nothing is decided twice.
        bench.start()
        await bench.begin()
        (again,) = bench.of(Ordered)
        assert again == ordered
        await bench.tell(ResponseHeard(AgentId("007"), Responded(order.id, "done")))
        assert bench.of(ResponseNoted) == [ResponseNoted(AgentId("007"), Noted(order.id, "done"))]
        bench.start()
        await bench.begin()
        assert not bench.of(Ordered)

    run(scene)


def test_nothing_is_decided_before_it_is_known_who_there_is_and_old_alerts_are_no_reason(run):
    async def scene(bench: Bench) -> None:
        await bench.alert("192.0.2.7")
        await bench.tell(ROSTER)
        assert not bench.of(Ordered), "it was there before the first start"
        await bench.alert("192.0.2.8")
        assert len(bench.of(Ordered)) == 1

    run(scene)


def test_a_refusal_is_told_once_an_hour(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert(*["192.0.2.1"] * 20, "10.0.0.1")
        texts = [told.text for told in bench.of(ResponseTold)]
        assert len(texts) == 2
        assert texts[0].startswith(
            "response refused: drop: firewall-drop 192.0.2.1 on web1, rule 200110: it is a gateway"
        )
        assert "it is the agent web1" in texts[1]
        bench.clock.advance(3601)
        await bench.alert("192.0.2.1")
        assert len(bench.of(ResponseTold)) == 1
        assert not bench.of(Ordered)

    run(scene)


def test_the_budget_is_one_alert_and_each_refusal_a_row(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert(*(f"198.51.100.{number}" for number in range(50)))
        assert len(bench.of(Ordered)) == 5
        (told,) = bench.of(ResponseTold)
        assert told.text.startswith("response budget: drop: firewall-drop 198.51.100.5 on web1")
        row = bench.store.row("007-1-50:drop:007")
        assert row is not None
        assert (row.state, row.reason) == ("refused", "the budget of 5 new targets a minute is used up")

    run(scene, per_minute=5)


def test_what_nobody_took_is_dropped_at_its_end_and_said(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert("192.0.2.7")
        await bench.tick(599)
        assert not bench.of(ResponseTold)
        await bench.tick(1)
        (told,) = bench.of(ResponseTold)
        assert told.text.startswith("response dropped: drop: firewall-drop 192.0.2.7 on web1")
        row = bench.store.row("007-1-1:drop:007")
        assert row is not None
        assert row.state == "dropped"

    run(scene)


def test_people_order_and_undo(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        ask = ResponseAsk(1, "run", "root", "web1", "firewall-drop", "192.0.2.9", 60)
        await bench.tell(ask)
        (answer,) = bench.of(ResponseAnswer)
        (given,) = bench.of(Ordered)
        assert (answer.number, answer.orders) == (1, (given.id,))
        assert bench.of(ResponseTold)[0].text == "response ordered: firewall-drop 192.0.2.9 by root"
        await bench.tell(ResponseHeard(AgentId("007"), Responded(given.id, "done")))

        await bench.tell(ResponseAsk(2, "undo", "root", target="192.0.2.9"))
        (undo,) = bench.of(Ordered)
        order = unpack(undo.respond.body)
        assert (undo.undo, order.undo, order.id, order.address) == (True, True, given.id, "192.0.2.9")
        await bench.tell(ResponseHeard(AgentId("007"), Responded(given.id, "undone")))
        row = bench.store.row(given.id)
        assert row is not None
        assert row.state == "undone"
        bench.of(ResponseAnswer)
        await bench.tell(
            ResponseAsk(3, "undo", "root", target="192.0.2.9"),
            ResponseAsk(4, "run", "root", "web1", "firewall-drop", "192.0.2.1"),
            ResponseAsk(5, "run", "root", "nobody", "firewall-drop", "192.0.2.9"),
            ResponseAsk(6, "run", "root", "web1", "nonsense"),
            ResponseAsk(7, "undo_all", "root"),
        )
        problems = {answer.number: answer.problem for answer in bench.of(ResponseAnswer)}
        assert "nothing is in force" in problems[3]
        assert "gateway" in problems[4]
        assert "no agent 'nobody'" in problems[5]
        assert "no command 'nonsense'" in problems[6]
        assert problems[7] == ""

    run(scene)


def test_an_agents_word_about_anothers_order_changes_nothing(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert("192.0.2.7")
        await bench.tell(ResponseHeard(AgentId("008"), Responded("007-1-1:drop:007", "done")))
        row = bench.store.row("007-1-1:drop:007")
        assert row is not None
        assert row.state == "open"

    run(scene)


def test_old_agents_undo_by_themselves(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.tell(ResponseAsk(1, "run", "root", "old1", "firewall-drop", "192.0.2.9", 60))
        assert bench.of(Ordered)[0].legacy
        await bench.tell(ResponseAsk(2, "undo", "root", target="192.0.2.9"))
        assert "old agent" in bench.of(ResponseAnswer)[-1].problem

    run(scene)


def test_a_disk_that_takes_nothing_stops_nothing_for_good(run, monkeypatch: pytest.MonkeyPatch):
    async def scene(bench: Bench) -> None:
        await bench.begin()

        def full(*_: Any) -> Any:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(bench.store, "commit", full)
            await bench.alert("192.0.2.7")
            await bench.tell(ResponseAsk(1, "run", "root", "web1", "firewall-drop", "192.0.2.9", 60))
            assert not bench.of(Ordered)
            assert bench.of(ResponseAnswer)[0].problem == "the disk is full"
            assert bench.mailbox.facts()["failing"] == "the disk is full"
        await bench.tick(1)
        assert [ordered.id for ordered in bench.of(Ordered)] == ["007-1-1:drop:007"]
        assert bench.mailbox.facts()["failing"] == ""

    run(scene)


def test_an_alert_on_which_the_decision_fails_does_not_stop_the_next(run, monkeypatch: pytest.MonkeyPatch):
    async def scene(bench: Bench) -> None:
        await bench.begin()

        def bug(*_: Any, **__: Any) -> Any:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr("hids.core.response.decide._aim", bug)
            await bench.alert("192.0.2.7")
        await bench.alert("192.0.2.8")
        assert [ordered.id for ordered in bench.of(Ordered)] == ["007-1-2:drop:007"]
        assert bench.mailbox.facts()["failed"] == 1

    run(scene)


def test_what_an_agent_refuses_is_not_ordered_again_for_each_alert(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert("192.0.2.7")
        refused = Responded("007-1-1:drop:007", "refused", "this agent takes none")
        await bench.tell(ResponseHeard(AgentId("007"), refused))
        await bench.alert(*["192.0.2.7"] * 20)
        assert len(bench.of(Ordered)) == 1
        bench.clock.advance(61)
        await bench.alert("192.0.2.7")
        assert len(bench.of(Ordered)) == 1

    run(scene)


def test_what_happened_once_is_not_in_force(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.tell(ResponseAsk(1, "run", "root", "web1", "restart"))
        (ordered,) = bench.of(Ordered)
        await bench.tell(ResponseHeard(AgentId("007"), Responded(ordered.id, "done")))
        row = bench.store.row(ordered.id)
        assert row is not None
        assert row.state == "ran"
        assert not bench.store.live(bench.clock.ms)

    run(scene)


def test_alerts_that_are_no_reason_move_the_cursor_once_a_second(run, monkeypatch: pytest.MonkeyPatch):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        commits: list[int | None] = []
        commit = bench.store.commit

        def counted(kept: Any, cursor: int | None = None) -> Any:
            commits.append(cursor)
            return commit(kept, cursor)

        monkeypatch.setattr(bench.store, "commit", counted)
        for _ in range(20):
            await bench.alert("no address")
        assert commits == []
        await bench.tick(1)
        await bench.tick(1)
        assert commits == [20]
        assert [said.positions for said in bench.of(Cursors)] == [{OUTPUT: 20}]
        await bench.alert("no address")
        bench.mailbox.shut_down()
        await settle(100)
        assert bench.store.cursor == 21

    run(scene)


def test_what_main_has_heard_may_be_older_than_what_was_judged_and_a_ledger_from_a_copy_is_older(run):
    async def scene(bench: Bench) -> None:
        await bench.begin()
        await bench.alert("192.0.2.7", "192.0.2.8", "192.0.2.9")
        await bench.tick(1)
        bench.start()
        await bench.tell(Outboxed(2), ROSTER)  # main lags
        await bench.tick(1)
        assert bench.store.cursor == 3
        (bench.folder / "ledger.db").unlink()
        for tail in ("-wal", "-shm"):
            (bench.folder / f"ledger.db{tail}").unlink(missing_ok=True)
        bench.start()
        await bench.tell(Outboxed(2), ROSTER)
        await bench.tick(1)
        assert bench.store.cursor == 1

    run(scene)
