"""Orders over a real store: given once, told once, and answered for; nobody acts on what is not on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hids.adapters.responses import ResponseStore
from hids.core.response.decide import PAUSE_MS, Verdict
from hids.core.response.guard import Surroundings
from hids.core.response.order import pack, unpack
from hids.core.response.orders import GUARD_MS, Orders
from hids.core.response.policy import Policy, Response, ResponseLimits
from hids.errors import StoreError
from hids.messages.responder import (
    Enlisted,
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
)
from hids.messages.response import Noted, Respond, Responded, ResponseOrder
from hids.messages.terms import AgentId

NOW_MS = 1_795_490_502_000
WEB1 = Enlisted(AgentId("007"), "web1", ("10.0.0.1",))
OLD = Enlisted(AgentId("008"), "old1", (), legacy=True)
POLICY = Policy(
    limits=ResponseLimits(mode="active"),
    responses=(Response(command="firewall-drop", name="drop", level=5, timeout_s=600),),
)


def sign(order: ResponseOrder) -> Respond:
    return Respond(pack(order), b"signature", b"certificate")


class Desk:
    """Orders, and what they say."""

    def __init__(self, store: ResponseStore, make_alert: Any) -> None:
        self.said: list[Any] = []
        self.looks = 0
        self._make = make_alert
        self.store = store
        self.orders = Orders(POLICY, (), store, sign, self.look, self.said.append, NOW_MS)
        self.orders.enlist((WEB1, OLD))

    def look(self) -> Surroundings:
        self.looks += 1
        return Surroundings(gateways=("192.0.2.1",))

    def verdicts(self, number: int, address: str, now_ms: int = NOW_MS) -> list[Verdict]:
        hids = {"number": number, "at_ms": now_ms, "source": "agent/007", "seq": number, "epoch": 1}
        line = msgspec.json.encode(self._make(number, data={"srcip": address}, hids=hids))
        self.orders.look_around(now_ms)
        return self.orders.decide(line, now_ms)

    def alert(self, number: int, address: str, now_ms: int = NOW_MS) -> list[Any]:
        self.orders.carry_out(self.verdicts(number, address, now_ms), number, now_ms)
        return self.heard()

    def ask(self, what: Any, **members: Any) -> list[Any]:
        self.orders.answer(ResponseAsk(1, what, "root", **members), NOW_MS)
        return self.heard()

    def heard(self) -> list[Any]:
        said, self.said[:] = list(self.said), []
        return said


@pytest.fixture
def desk(tmp_path: Path, make_alert: Any) -> Iterator[Desk]:
    store = ResponseStore(tmp_path / "responses.db")
    yield Desk(store, make_alert)
    store.close()


def test_what_is_given_is_on_disk_with_the_cursor_and_given_again_until_it_is_answered(desk: Desk):
    (ordered,) = desk.alert(1, "192.0.2.7")
    assert (ordered.agent, unpack(ordered.respond.body).address) == ("007", "192.0.2.7")
    assert desk.store.cursor == 1
    desk.orders.give_unanswered()
    assert desk.heard() == [ordered]
    desk.orders.hear(ResponseHeard(AgentId("007"), Responded(ordered.id, "done")), NOW_MS)
    assert desk.heard() == [ResponseNoted(AgentId("007"), Noted(ordered.id, "done"))]
    desk.orders.give_unanswered()
    assert desk.heard() == []
    assert desk.orders.active(NOW_MS) == 1


def test_a_refusal_is_told_and_recorded_once(desk: Desk):
    (told,) = desk.alert(1, "192.0.2.1")
    assert "it is a gateway" in told.text
    verdicts = desk.verdicts(2, "192.0.2.1")
    assert verdicts
    assert not desk.orders.carry_out(verdicts, 2, NOW_MS)
    assert desk.heard() == []
    assert desk.orders.counts["refused"] == 1


def test_what_the_disk_does_not_take_is_not_in_force(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> frozenset[str]:
        raise StoreError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "commit", full)
        with pytest.raises(StoreError):
            desk.alert(1, "192.0.2.7")
    assert desk.heard() == []
    assert desk.orders.active(NOW_MS) == 0
    assert [type(each) for each in desk.alert(1, "192.0.2.7")] == [Ordered]


def test_an_agent_that_refuses_is_left_alone_for_a_while(desk: Desk):
    (ordered,) = desk.alert(1, "192.0.2.7")
    desk.orders.hear(ResponseHeard(AgentId("008"), Responded(ordered.id, "refused")), NOW_MS)
    row = desk.store.row(ordered.id)
    assert row is not None
    assert row.state == "open", "the word of another agent counts for nothing"
    desk.orders.hear(ResponseHeard(AgentId("007"), Responded(ordered.id, "refused")), NOW_MS)
    desk.heard()
    assert desk.alert(2, "192.0.2.7", NOW_MS + 1) == []
    assert desk.alert(3, "192.0.2.7", NOW_MS + PAUSE_MS)


def test_what_nobody_took_in_time_is_dropped_and_told(desk: Desk):
    (ordered,) = desk.alert(1, "192.0.2.7")
    desk.orders.drop_late(ordered.until_ms)
    (told,) = desk.heard()
    assert told.text.startswith("response dropped: drop: firewall-drop 192.0.2.7 on web1")
    row = desk.store.row(ordered.id)
    assert row is not None
    assert row.state == "dropped"


def test_people_order_and_undo(desk: Desk):
    assert desk.ask("run", action="nonsense")[0].problem.startswith("there is no command 'nonsense'")
    assert desk.ask("run", action="firewall-drop", agent="nobody")[0].problem.startswith("there is no agent 'nobody'")
    *_, answer = desk.ask("run", action="firewall-drop", agent="web1", target="192.0.2.1")
    assert answer == ResponseAnswer(1, "refused: it is a gateway of this machine")
    ordered, told, answer = desk.ask("run", action="firewall-drop", agent="web1", target="192.0.2.7")
    assert told == ResponseTold("response ordered: firewall-drop 192.0.2.7 by root")
    assert answer.orders == (ordered.id,)

    assert desk.ask("undo", target="192.0.2.9")[0].problem.startswith("nothing is in force for '192.0.2.9'")
    assert desk.ask("undo", target="192.0.2.7", agent="old1")[0].problem.startswith("nothing is in force")
    undo, told, answer = desk.ask("undo", target="192.0.2.7")
    assert (undo.undo, unpack(undo.respond.body).undo) == (True, True)
    assert told == ResponseTold("response ordered: undo 192.0.2.7 by root")
    assert answer == ResponseAnswer(1, orders=(ordered.id,))
    assert desk.orders.active(NOW_MS) == 0


def test_an_old_agent_undoes_nothing_on_order(desk: Desk):
    desk.ask("run", action="firewall-drop", agent="old1", target="192.0.2.7")
    (answer,) = desk.ask("undo_all")
    assert answer.problem.startswith("an old agent undoes its responses when their time is over")
    desk.store.settle(desk.store.live(NOW_MS)[0].id, "failed", "", NOW_MS)
    assert desk.ask("undo_all") == [ResponseAnswer(1)]


def test_the_surroundings_are_looked_at_now_and_then_and_after_agents_have_changed(desk: Desk):
    for after_ms in (0, GUARD_MS, GUARD_MS + 1):
        desk.orders.look_around(NOW_MS + after_ms)
    assert desk.looks == 2
    desk.orders.enlist((WEB1, Enlisted(AgentId("009"), "db1", ("192.0.2.7",))))
    (told,) = desk.alert(1, "192.0.2.7")
    assert "it is the agent db1" in told.text
