"""The manager's side of the old protocol as a state machine: datagrams and time in; events, answers and news out.

    body + route -> whose is it? -> decrypt -> number new? -> control message | event

Nothing leaves by itself: whoever drives it takes `answers`, `events` and `news`, makes durable what must be, then sends.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from hids.core.wire.ossec import control, files
from hids.core.wire.ossec.cipher import Keyring, Method, RandomBytes
from hids.core.wire.ossec.control import KeepAlive, Request, Shutdown, Startup
from hids.core.wire.ossec.counters import Seen, following
from hids.core.wire.ossec.datagram import MAX_OSSEC_DATAGRAM, PING, PONG, open_sealed, seal, split
from hids.core.wire.ossec.events import OldEvent, read_event
from hids.core.wire.ossec.keys import ClientKey, encryption_key
from hids.core.wire.ossec.message import Counters, Message
from hids.core.wire.ossec.response import encode
from hids.errors import ConfigError, RemoteProtocolError
from hids.messages.legacy import LegacyAgent, LegacyOrder
from hids.messages.terms import AgentId

OVERTAKE_S = 60.0
"""A connection of an agent that was silent for so long makes room for another (Wazuh's connection_overtake_time)."""
DISCONNECTED_S = {"ossec": 1_830.0, "wazuh": 900.0, "": 1_830.0}
"""No keep-alive for so long: gone, until its own interval is known. The originals' limits."""
MISSED_INTERVALS = 3.0
SENDABLE_S = 1_200.0
"""After so long without a control message nothing is sent: the address may be somebody else's by now."""
PONGS_A_SECOND = 50
TCP_CHUNK = 50_000
"""Bytes of a file in one message to Wazuh over TCP."""
PUSHES_AT_ONCE = 100
"""Agents that get a part of a file in one tick; the others wait for their turn."""
TCP_PUSH = 8
"""Messages of a file in one tick over TCP."""

State = Literal["never", "pending", "active", "disconnected"]


class Route(NamedTuple):
    """Where an answer goes."""

    address: str
    port: int
    connection: int = 0
    """Number of a TCP connection; 0: UDP."""

    @property
    def is_tcp(self) -> bool:
        """Whether it is a connection."""
        return self.connection != 0


class Arrived(NamedTuple):
    """port -> desk: datagrams and frame bodies."""

    bodies: tuple[tuple[bytes, Route], ...]


class Limits(msgspec.Struct, frozen=True):
    """What is up to the operator."""

    blowfish: bool = True
    """Take and answer Blowfish."""
    disconnected_floor_s: float = 60.0
    """No agent counts as gone earlier than this."""


class Peer:
    """One agent and all that is known of it in this process."""

    def __init__(self, known: LegacyAgent) -> None:
        self.known = known
        self.client_key = ClientKey(known.wire_id, known.agent.name, known.ip, known.key)
        self._keyring: Keyring | None = None
        self.seen = Seen()
        self.complete = False
        """Its syscheck has told the whole database once (OSSEC)."""
        self.method: Method | None = None
        self.route: Route | None = None
        self.state: State = "never"
        self.keepalive: KeepAlive | None = None
        self.product: control.Product = ""
        self.software = ""
        self.control_s = float("-inf")
        """When its last control message came; monotonic."""
        self.alive_s = float("-inf")
        """When its last keep-alive came, if nothing but keep-alives came since."""
        self.heard_s = float("-inf")
        self.interval_s = 0.0
        """Between its keep-alives; 0: not known."""
        self.pushing: Iterator[bytes] | None = None
        """What is left of a file that is on its way."""
        self.missed = 0
        self.replayed = 0
        self.lines = 0

    @property
    def keyring(self) -> Keyring:
        """Derived when it is first heard."""
        if self._keyring is None:
            self._keyring = Keyring(encryption_key(self.client_key))
        return self._keyring

    @property
    def timeout_s(self) -> float:
        """After so long without a control message it is gone."""
        return MISSED_INTERVALS * self.interval_s if self.interval_s else DISCONNECTED_S[self.product]


class Answer(NamedTuple):
    """Bytes for an agent."""

    route: Route
    body: bytes


class Refusal(NamedTuple):
    """A body that is not taken, and why. Over TCP the connection ends with it; nothing is ever answered."""

    reason: str
    peer: Peer | None = None


News = Literal["state", "alive", "started", "stopped", "disconnected"]


class OldManager:
    """All old agents of a manager."""

    def __init__(self, sent: Counters, random: RandomBytes, manager: str, limits: Limits) -> None:
        """Start with no agent.

        Args:
            sent: the number of the last message sent, see `counters.first_sent`.
            random: makes so many random bytes.
            manager: this manager's name.
            limits: what is up to the operator.
        """
        self.sent = sent
        self.answers: list[Answer] = []
        self.events: list[tuple[Peer, OldEvent]] = []
        self.news: list[tuple[Peer, News]] = []
        self.touched: set[AgentId] = set()
        """Agents whose numbers moved since whoever drives this cleared it."""
        self.closing: list[Route] = []
        """Connections that are to end."""
        self.refused: Counter[str] = Counter()
        self.shared: Callable[[str], tuple[str, bytes]] = lambda _group: ("", b"")
        """Group -> (MD5, content) of the merged.mg for it; empty for none."""
        self._random = random
        self._manager = manager
        self._limits = limits
        self._peers: dict[AgentId, Peer] = {}
        self._by_wire_id: dict[str, list[Peer]] = {}
        """Agents of several managers may have the same id; their keys tell them apart."""
        self._by_address: dict[str, list[Peer]] = {}
        self._by_connection: dict[int, Peer] = {}
        self._pongs = (0, 0)

    # ---- who there is

    @property
    def peers(self) -> Iterable[Peer]:
        """Every agent."""
        return self._peers.values()

    def get(self, agent: AgentId) -> Peer | None:
        """One agent."""
        return self._peers.get(agent)

    def know(self, agents: Iterable[LegacyAgent]) -> list[Peer]:
        """Take these agents and no others; returns those that are new or have begun anew, and drops removed ones."""
        before, self._peers = self._peers, {}
        routes = [peer.route for peer in before.values()]
        changed: list[Peer] = []
        for known in agents:
            peer = before.get(known.agent.id)
            same = peer is not None and (peer.known.key, peer.known.wire_id, peer.known.generation) == (
                known.key,
                known.wire_id,
                known.generation,
            )
            if peer is None or not same or peer.known.ip != known.ip:
                fresh = Peer(known)
                if peer is not None and same:
                    fresh.seen, fresh.complete = peer.seen, peer.complete
                peer = fresh
                changed.append(peer)
            peer.known = known
            self._peers[known.agent.id] = peer
        self._by_wire_id, self._by_address = {}, {}
        for peer in self._peers.values():
            self._by_wire_id.setdefault(peer.known.wire_id, []).append(peer)
            if peer.client_key.is_single_address:
                self._by_address.setdefault(peer.client_key.address, []).append(peer)
        kept = {peer.route for peer in self._peers.values()}
        self.closing += [route for route in routes if route is not None and route.is_tcp and route not in kept]
        return changed

    def assume(self, agents: Iterable[AgentId], now_s: float) -> None:
        """These were there a moment ago: if they do not come again in time, they are gone."""
        for agent in agents:
            peer = self._peers.get(agent)
            if peer is not None and peer.state == "never":
                peer.state, peer.control_s = "active", now_s

    # ---- what comes

    def receive(self, body: bytes, route: Route, now_s: float) -> Refusal | None:
        """Take one datagram or frame body. None: it was genuine and new."""
        if body.startswith(PING):
            return self._pong(route, now_s)
        try:
            sealed = split(body)
        except RemoteProtocolError:
            return self._refuse("not of this protocol")
        candidates = self._find(sealed.agent, route.address)
        for peer in candidates:
            try:
                message, method = open_sealed(sealed, peer.keyring)
            except RemoteProtocolError:
                continue
            return self._take(peer, message, method, route, now_s)
        return self._refuse("wrong key", candidates[0]) if candidates else self._refuse("unknown agent")

    def _take(self, peer: Peer, message: Message, method: Method, route: Route, now_s: float) -> Refusal | None:
        """A message that was made with the agent's key; it may be an old one."""
        if method is Method.BLOWFISH and not self._limits.blowfish:
            return self._refuse("blowfish is off", peer)
        if self._is_taken(peer, route, now_s):
            return self._refuse("its key is in use on another connection", peer)
        seen = peer.seen.accept(message.counters)
        if seen is None:
            peer.replayed += 1
            return self._refuse("its number was used before", peer)
        self._count_missed(peer, message.counters, route)
        peer.seen, peer.method, peer.heard_s = seen, method, now_s
        self.touched.add(peer.known.agent.id)
        is_control = message.payload.startswith(control.MARK)
        if is_control or route.is_tcp:
            self._move(peer, route)
        if is_control:
            self._obey(peer, message.payload, now_s)
        else:
            self._event(peer, message.payload)
        return None

    def lost(self, route: Route) -> None:
        """A TCP connection has ended."""
        peer = self._by_connection.pop(route.connection, None)
        if peer is not None and peer.route == route:
            peer.route = None
            peer.pushing = None

    def _move(self, peer: Peer, route: Route) -> None:
        """Answers go this way from now on; a connection before it ends."""
        before, peer.route = peer.route, route
        if before == route:
            return
        if before is not None and before.is_tcp:
            self._by_connection.pop(before.connection, None)
            self.closing.append(before)
        if route.is_tcp:
            self._by_connection[route.connection] = peer

    def _find(self, wire_id: str, address: str) -> list[Peer]:
        """Whose message it may be."""
        named = self._by_wire_id.get(wire_id, ()) if wire_id else self._by_address.get(address, ())
        return [peer for peer in named if peer.client_key.admits(address)]

    def _is_taken(self, peer: Peer, route: Route, now_s: float) -> bool:
        """The older connection of two with one key stays until it has been silent."""
        held = peer.route
        return held is not None and held.is_tcp and held != route and now_s - peer.heard_s < OVERTAKE_S

    def _count_missed(self, peer: Peer, number: Counters, route: Route) -> None:
        """Over UDP an agent that speaks to us only leaves a gap for every message that was lost on the way."""
        if not route.is_tcp:
            late = number < peer.seen.newest
            peer.missed = max(0, peer.missed - 1) if late else peer.missed + peer.seen.missed(number)

    def _pong(self, route: Route, now_s: float) -> Refusal | None:
        second, count = self._pongs
        count = count + 1 if second == int(now_s) else 1
        self._pongs = (int(now_s), count)
        if count > PONGS_A_SECOND:
            return self._refuse("too many pings")
        self.answers.append(Answer(route, PONG))
        return None

    def _refuse(self, reason: str, peer: Peer | None = None) -> Refusal:
        self.refused[reason] += 1
        return Refusal(reason, peer)

    # ---- control

    def _obey(self, peer: Peer, payload: bytes, now_s: float) -> None:
        peer.control_s = now_s
        match control.read_control(payload):
            case Startup(version):
                peer.pushing = None
                peer.alive_s = float("-inf")
                peer.missed = 0  # it may have spoken to another manager meanwhile
                if version:
                    peer.product, peer.software = "wazuh", f"Wazuh {version}"
                self.send(peer, control.ACK)
                if peer.state != "active":
                    peer.state = "pending"
                self.news.append((peer, "state"))
            case Shutdown():
                peer.state = "disconnected"
                self.news.append((peer, "stopped"))
            case KeepAlive() as keepalive:
                self.send(peer, control.ACK)
                self._alive(peer, keepalive, now_s)
            case Request():
                self.refused["answers to requests"] += 1

    def _alive(self, peer: Peer, keepalive: KeepAlive, now_s: float) -> None:
        news = peer.state != "active" or keepalive != peer.keepalive
        since_s, peer.alive_s = now_s - peer.alive_s, now_s
        if since_s < DISCONNECTED_S[""]:
            peer.interval_s = max(since_s, peer.interval_s * 0.9, self._limits.disconnected_floor_s / MISSED_INTERVALS)
        peer.state, peer.keepalive = "active", keepalive
        peer.product = keepalive.product or peer.product
        peer.software = keepalive.software or peer.software
        self.news.append((peer, "state" if news else "alive"))
        self._push_if_stale(peer, keepalive)

    def _push_if_stale(self, peer: Peer, keepalive: KeepAlive) -> None:
        sum_, content = self.shared(peer.known.group)
        if content and keepalive.merged not in ("", sum_) and peer.pushing is None:
            tcp = peer.route is not None and peer.route.is_tcp
            chunk = TCP_CHUNK if tcp and peer.product == "wazuh" else files.CHUNK
            peer.pushing = files.push(files.MERGED, content, chunk)

    def _event(self, peer: Peer, payload: bytes) -> None:
        try:
            event = read_event(payload)
        except RemoteProtocolError:
            self.refused["malformed events"] += 1
            return
        if not event.is_heartbeat:
            self.events.append((peer, event))
            peer.lines += 1

    # ---- what goes

    def order(self, order: LegacyOrder, now_s: float) -> str:
        """Queue an order; returns why it cannot be given, or nothing."""
        peer = self._peers.get(order.agent)
        if peer is None:
            return f"agent {order.agent} is no agent of OSSEC or Wazuh"
        if peer.route is None or now_s - peer.control_s > SENDABLE_S:
            return f"agent {order.agent} ({peer.known.agent.name}) is not connected; old agents take orders only while they are"
        try:
            payload = self._payload(order, peer)
        except ConfigError as error:
            return str(error)
        return (
            "" if self.send(peer, payload) else f"{len(payload)} bytes are more than agent {order.agent} reads at once"
        )

    def _payload(self, order: LegacyOrder, peer: Peer) -> bytes:
        if order.command == "scan":
            return control.SYSCHECK_RESTART
        if order.command == "reconnect":
            if peer.product != "wazuh":
                raise ConfigError(f"agent {order.agent} is not Wazuh's; only those can be told to reconnect")
            peer.pushing = None
            return control.RECONNECT
        return encode(order, peer.keepalive, manager=self._manager)

    def send(self, peer: Peer, payload: bytes) -> bool:
        """Put a message for an agent among `answers`; False: it would not be read whole."""
        if peer.route is None or peer.method is None:
            return False
        self.sent = following(self.sent)
        random = int.from_bytes(self._random(2), "big")
        body = seal(Message(payload, self.sent, random), peer.keyring, peer.method, self._random)
        if not peer.route.is_tcp and len(body) > MAX_OSSEC_DATAGRAM and peer.product != "wazuh":
            return False
        self.answers.append(Answer(peer.route, body))
        return True

    def tick(self, now_s: float) -> None:
        """Once a second: files go on, and who is silent is gone."""
        for peer in islice((peer for peer in self._peers.values() if peer.pushing is not None), PUSHES_AT_ONCE):
            self._push_on(peer)
        for peer in self._peers.values():
            if peer.state in ("active", "pending") and now_s - peer.control_s > max(
                peer.timeout_s, self._limits.disconnected_floor_s
            ):
                peer.state = "disconnected"
                peer.pushing = None
                self.news.append((peer, "disconnected"))

    def _push_on(self, peer: Peer) -> None:
        if peer.route is None or peer.pushing is None:
            peer.pushing = None
            return
        several = TCP_PUSH if peer.route.is_tcp else files.PAUSE_AFTER
        part = tuple(islice(peer.pushing, several))
        for payload in part:
            self.send(peer, payload)
        if len(part) < several:
            peer.pushing = None
