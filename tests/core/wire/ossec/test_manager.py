"""The manager's side as a state machine: who is believed, what is answered, what comes of silence."""

import os
from dataclasses import dataclass, field

import pytest

from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.counters import following
from hids.core.wire.ossec.datagram import MAX_OSSEC_DATAGRAM, open_sealed, seal, split
from hids.core.wire.ossec.files import MERGED, Receiver, md5_of, merge
from hids.core.wire.ossec.keys import ClientKey, encryption_key
from hids.core.wire.ossec.manager import Limits, OldManager, Peer, Route
from hids.core.wire.ossec.message import Counters, Message
from hids.messages.legacy import LegacyAgent, LegacyOrder
from hids.messages.terms import Agent, AgentId

UDP = Route("192.0.2.7", 4000)
TCP = Route("192.0.2.7", 0, 1)
ACK = b"#!-agent ack "


def known(number: str = "001", ip: str = "any", **fields: object) -> LegacyAgent:
    agent = Agent(AgentId(number), f"web{number}", ip)
    return LegacyAgent(**({"agent": agent, "wire_id": number, "ip": ip, "key": f"{number:x<64}"} | fields))


@dataclass
class Sender:
    """An agent, as far as making messages goes."""

    agent: LegacyAgent
    method: Method = Method.OSSEC_AES
    number: Counters = field(default_factory=lambda: Counters(0, 0))
    ring: Keyring = field(init=False)

    def __post_init__(self) -> None:
        key = ClientKey(self.agent.wire_id, self.agent.agent.name, self.agent.ip, self.agent.key)
        self.ring = Keyring(encryption_key(key))

    def body(self, payload: bytes, *, named: bool = True) -> bytes:
        self.number = following(self.number)
        return seal(
            Message(payload, self.number, 1), self.ring, self.method, os.urandom, self.agent.wire_id if named else ""
        )

    def opened(self, body: bytes) -> bytes:
        message, method = open_sealed(split(body), self.ring)
        assert method is self.method
        return message.payload


class Stand:
    def __init__(self, *agents: LegacyAgent, blowfish: bool = False) -> None:
        self.manager = OldManager(Counters(1_700_000_000, 0), os.urandom, "boss", Limits(blowfish=blowfish))
        self.manager.know(agents or (known(),))
        self.now = 1000.0

    def receive(self, body: bytes, route: Route = UDP) -> str:
        refusal = self.manager.receive(body, route, self.now)
        return refusal.reason if refusal else ""

    def answers(self, sender: Sender) -> list[bytes]:
        taken, self.manager.answers = self.manager.answers, []
        return [sender.opened(answer.body) for answer in taken]

    def peer(self, number: str = "001") -> Peer:
        peer = self.manager.get(AgentId(number))
        assert peer is not None
        return peer

    def connect(self, sender: Sender, route: Route = UDP, merged: str = "x") -> None:
        wazuh = sender.method is Method.WAZUH_AES
        software = "Wazuh v4.14.7" if wazuh else "OSSEC HIDS v4.2.0"
        assert not self.receive(sender.body(b"#!-agent startup "), route)
        assert not self.receive(sender.body(f"#!-Linux - {software}\n{merged} merged.mg\n".encode()), route)
        assert self.answers(sender) == [ACK, ACK]


@pytest.mark.parametrize("method", list(Method))
def test_a_hand_is_shaken_in_the_agents_own_cipher(method: Method):
    stand, sender = Stand(blowfish=True), Sender(known(), method)
    assert not stand.receive(sender.body(b"#!-agent startup "))
    assert stand.peer().state == "pending"
    assert stand.answers(sender) == [ACK]
    stand.connect(sender)
    assert stand.peer().state == "active"
    assert stand.manager.news[-1] == (stand.peer(), "state")
    stand.receive(sender.body(b"1:x:y"))
    ((peer, event),) = stand.manager.events
    assert (peer, event.message) == (stand.peer(), b"y")


def test_our_numbers_are_above_those_of_the_manager_before_us():
    stand, sender = Stand(), Sender(known())
    stand.receive(sender.body(b"#!-agent startup "))
    message, _ = open_sealed(split(stand.manager.answers[0].body), sender.ring)
    assert message.counters == Counters(1_700_000_000, 1)


def test_nothing_is_believed_twice_and_nothing_of_a_stranger():
    stand, sender = Stand(), Sender(known())
    stand.connect(sender)
    body = sender.body(b"#!-agent startup ")
    assert stand.receive(body) == ""
    elsewhere = Route("198.51.100.1", 9)
    assert stand.receive(body, elsewhere) == "its number was used before"
    assert stand.peer().route == UDP, "a replay does not move the address"
    assert stand.receive(Sender(known(key="y" * 64)).body(b"1:x:y")) == "wrong key"
    assert stand.receive(Sender(known("002")).body(b"1:x:y")) == "unknown agent"
    assert stand.receive(b"hello") == "not of this protocol"
    assert stand.manager.refused.total() == 4
    assert len(stand.manager.answers) == 1, "nobody learns anything from a refusal"


def test_a_genuine_message_from_elsewhere_moves_the_address_only_if_it_is_a_control_message():
    stand, sender = Stand(), Sender(known())
    stand.connect(sender)
    elsewhere = Route("198.51.100.1", 9)
    stand.receive(sender.body(b"1:x:y"), elsewhere)
    assert stand.peer().route == UDP
    stand.receive(sender.body(b"#!-agent startup "), elsewhere)
    assert stand.peer().route == elsewhere


def test_who_may_speak_from_where():
    fixed, network = known("001", "192.0.2.7"), known("002", "10.0.0.0/8")
    stand = Stand(fixed, network)
    assert stand.receive(Sender(fixed).body(b"1:x:y", named=False)) == ""
    assert stand.receive(Sender(fixed, number=Counters(1, 0)).body(b"1:x:y")) == ""
    assert stand.receive(Sender(fixed, number=Counters(2, 0)).body(b"1:x:y"), Route("10.0.0.1", 1)) == "unknown agent"
    assert stand.receive(Sender(network).body(b"1:x:y", named=False), Route("10.0.0.1", 1)) == "unknown agent"
    assert stand.receive(Sender(network).body(b"1:x:y"), Route("10.0.0.1", 1)) == ""


def test_agents_of_two_managers_with_one_id_are_told_apart_by_their_keys():
    one = known()
    other = known(agent=Agent(AgentId("002"), "other", "any"), key="y" * 64)
    stand = Stand(one, other)
    stand.receive(Sender(other).body(b"1:x:y"))
    stand.receive(Sender(one).body(b"1:x:y"))
    assert [peer.known.agent.id for peer, _ in stand.manager.events] == ["002", "001"]


def test_ids_are_text():
    stand = Stand(known("001"), known("1"))
    stand.receive(Sender(known("1")).body(b"1:x:y"))
    assert [peer.known.agent.id for peer, _ in stand.manager.events] == ["1"]


def test_blowfish_is_refused_unless_it_is_switched_on():
    assert Stand().receive(Sender(known(), Method.BLOWFISH).body(b"1:x:y")) == "blowfish is off"


def test_the_older_of_two_connections_stays_until_it_is_silent():
    stand, sender = Stand(), Sender(known(), Method.WAZUH_AES)
    stand.connect(sender, TCP)
    second = TCP._replace(connection=2)
    assert stand.receive(sender.body(b"1:x:y"), second) == "its key is in use on another connection"
    assert stand.receive(sender.body(b"1:x:y")) == "its key is in use on another connection", "nor over UDP"
    stand.now += 61
    assert stand.receive(sender.body(b"1:x:y"), second) == ""
    assert stand.manager.closing == [TCP]
    stand.manager.lost(TCP)
    assert stand.peer().route == second
    stand.manager.lost(second)
    assert stand.peer().route is None


def test_pings_are_answered_in_clear_and_not_without_limit():
    stand = Stand()
    for _ in range(60):
        stand.receive(b"#ping")
    assert [answer.body for answer in stand.manager.answers] == [b"#pong"] * 50


def test_shared_files_are_pushed_until_the_agent_has_them():
    merged = merge({"agent.conf": b"<agent_config/>\n" * 2000})
    stand, sender = Stand(), Sender(known())
    stand.manager.shared = lambda _group: (md5_of(merged), merged)
    stand.connect(sender)
    received: list[bytes] = []
    for _ in range(4):
        stand.manager.tick(stand.now)
        assert len(stand.manager.answers) <= 31
        assert all(len(answer.body) <= MAX_OSSEC_DATAGRAM for answer in stand.manager.answers)
        received += stand.answers(sender)
    receiver = Receiver()
    receiver.up(received[0].removeprefix(b"#!-up file "))
    for chunk in received[1:-1]:
        receiver.add(chunk)
    pushed = receiver.close()
    assert pushed is not None
    assert (pushed.name, pushed.content) == (MERGED, merged)
    stand.connect(sender, merged=md5_of(merged))
    stand.manager.tick(stand.now)
    assert stand.manager.answers == []


def test_even_what_does_not_deflate_fits_a_datagram_of_ossec():
    content = os.urandom(3000).replace(b"\0", b"x")
    stand, sender = Stand(), Sender(known())
    stand.manager.shared = lambda _group: (md5_of(content), content)
    stand.connect(sender)
    stand.manager.tick(stand.now)
    assert len(stand.manager.answers) == 6
    assert all(len(answer.body) <= MAX_OSSEC_DATAGRAM for answer in stand.manager.answers)


def test_a_start_up_is_answered_before_a_file_goes_on():
    stand, sender = Stand(), Sender(known(), Method.WAZUH_AES)
    stand.manager.shared = lambda _group: ("0" * 32, b"x" * 1_000_000)
    stand.connect(sender, TCP)
    stand.manager.tick(stand.now)
    assert len(stand.answers(sender)) == 8
    stand.receive(sender.body(b"#!-agent startup "), TCP)
    stand.manager.tick(stand.now)
    assert stand.answers(sender) == [ACK]


def test_who_is_silent_is_gone_after_three_of_his_own_intervals():
    stand, sender = Stand(), Sender(known(), Method.WAZUH_AES)
    stand.connect(sender, TCP)
    stand.now += 300
    stand.manager.tick(stand.now)
    assert stand.peer().state == "active", "its interval is not known yet"
    for _ in range(30):
        stand.now += 30
        stand.receive(sender.body(b"#!-Linux - Wazuh v4.14.7\nx merged.mg\n"), TCP)
    stand.now += 80
    stand.manager.tick(stand.now)
    assert stand.peer().state == "active"
    stand.now += 40
    stand.manager.tick(stand.now)
    assert (stand.peer().state, stand.manager.news[-1][1]) == ("disconnected", "disconnected")


def test_an_agent_that_restarts_is_not_taken_for_a_frequent_one():
    stand, sender = Stand(), Sender(known())
    for _ in range(3):
        stand.connect(sender)
        stand.now += 590
    stand.manager.tick(stand.now)
    assert stand.peer().state == "active"
    assert stand.peer().timeout_s == 1830


def test_a_shutdown_is_believed_and_not_answered():
    stand, sender = Stand(), Sender(known(), Method.WAZUH_AES)
    stand.connect(sender, TCP)
    stand.receive(sender.body(b"#!-agent shutdown "), TCP)
    stand.receive(sender.body(b"#!-req 1 ok x"), TCP)
    assert (stand.peer().state, stand.manager.news[-1][1]) == ("disconnected", "stopped")
    assert stand.manager.answers == []


def test_lost_datagrams_are_counted():
    stand, sender = Stand(), Sender(known())
    stand.connect(sender)
    late, *_lost = [sender.body(b"1:x:y") for _ in range(5)]
    stand.receive(sender.body(b"1:x:y"))
    assert stand.peer().missed == 5
    stand.receive(late)
    assert stand.peer().missed == 4


def test_orders_go_to_agents_that_are_there():
    stand, sender = Stand(), Sender(known())
    order = LegacyOrder(AgentId("001"), "firewall-drop600", ip="203.0.113.78")
    assert "not connected" in stand.manager.order(order, stand.now)
    stand.connect(sender)
    assert stand.manager.order(order, stand.now) == ""
    assert stand.manager.order(LegacyOrder(AgentId("001"), "scan"), stand.now) == ""
    assert stand.answers(sender) == [
        b"#!-execd firewall-drop600 - 203.0.113.78 (from_the_server) (no_rule_id)",
        b"#!-syscheck restart",
    ]
    assert "no agent" in stand.manager.order(LegacyOrder(AgentId("009"), "scan"), stand.now)
    assert "Wazuh" in stand.manager.order(LegacyOrder(AgentId("001"), "reconnect"), stand.now)
    assert "no address" in stand.manager.order(LegacyOrder(AgentId("001"), "x", ip="y"), stand.now)
    assert "not connected" in stand.manager.order(order, stand.now + 1201)


def test_removed_agents_are_cut_off_and_changed_ones_begin_anew():
    stand, sender = Stand(known(), known("002")), Sender(known(), Method.WAZUH_AES)
    stand.connect(sender, TCP)
    assert stand.manager.know((known(), known("002"))) == []
    assert stand.manager.closing == []
    (changed,) = stand.manager.know((known(generation=1), known("002")))
    assert changed.seen.newest == Counters(0, 0)
    assert stand.manager.closing == [TCP]
    stand.manager.know((known("002"),))
    assert stand.receive(sender.body(b"1:x:y")) == "unknown agent"


def test_agents_that_were_there_before_us_are_missed_when_they_do_not_come():
    stand = Stand()
    stand.manager.assume((AgentId("001"), AgentId("009")), stand.now)
    stand.manager.tick(stand.now + 2000)
    assert stand.manager.news == [(stand.peer(), "disconnected")]


def test_a_malformed_event_costs_itself_only():
    stand, sender = Stand(), Sender(known(), Method.WAZUH_AES)
    stand.connect(sender, TCP)
    assert stand.receive(sender.body(b"nonsense"), TCP) == ""
    assert stand.receive(sender.body(b"1:ossec-keepalive:--MARK--: x"), TCP) == ""
    assert stand.manager.events == []
    assert stand.manager.refused == {"malformed events": 1}


def test_a_fleet_gets_its_files_in_turn_and_they_are_in_memory_once():
    agents = [known(f"{number:03}") for number in range(1, 151)]
    stand = Stand(*agents)
    content = b"x" * 5_000
    stand.manager.shared = lambda _group: ("0" * 32, content)
    for agent in agents:
        stand.connect(Sender(agent))
    stand.manager.tick(stand.now)
    assert len(stand.manager.answers) == 100 * 8
    stand.manager.tick(stand.now)
    assert len(stand.manager.answers) == 150 * 8
