"""One session with the manager: a connection, from HELLO to its end.

    link --> Session ==Hello, Batch, Heartbeat...==> manager;   manager ==Welcome, Ack, orders==> Session

Order    Hello, then batches and heartbeats in sequence. At most the manager's credit is under way, but always a batch.
Ends     by `Lost`, an error of the connection, or with a goodbye when the agent stops. What is not acknowledged is in the
         spool, and is sent in the next one.
"""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import structlog

from hids import __version__
from hids.agent.collector import SourceState
from hids.agent.linkstate import LinkState
from hids.agent.machine import os_name
from hids.agent.outbound import Outbound
from hids.agent.renewal import Renewal
from hids.agent.spool import Numbers
from hids.agent.upkeep import Responses, Upkeep
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.session import PROTOCOL_VERSION
from hids.errors import HidsError, RemoteProtocolError
from hids.messages.agent_link import (
    Ability,
    Ack,
    AskDigests,
    Bye,
    Configuration,
    Configured,
    Heartbeat,
    Hello,
    NewEpoch,
    Refused,
    Renewed,
    Rescan,
    Restart,
    ToAgent,
    ToManager,
    Welcome,
)
from hids.messages.lines import Batch
from hids.messages.response import Noted, Respond, Responded
from hids.ports import Clock

log = structlog.get_logger()

READ_LAG_MS = 1_000
"""A line is noticed well within this after it was written; "read through" claims no more."""
JUMP_MS = 1_000
"""A clock that is off by so much more than a moment ago was set."""
ABILITIES: tuple[Ability, ...] = ("renew", "configure", "restart", "syscheck")


class Timing(msgspec.Struct, frozen=True):
    """How long to wait for what, in seconds."""

    connect_s: float = 10.0
    heartbeat_s: float = 10.0
    silence_s: float = 60.0
    """Nothing heard, or no progress while lines are out: the connection is dead."""
    first_pause_s: float = 0.2
    max_pause_s: float = 30.0
    refused_pause_s: float = 60.0
    """After a refusal that only a person can end."""
    farewell_s: float = 1.5
    """To deliver what is left when the agent stops."""


class Lost(HidsError):  # noqa: N818 - a state of the connection
    """The session is over; try again."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        """None: the usual, growing one."""


@dataclass
class Standing:
    """What outlives a session: the link's, lent to one session after the other."""

    clock: Clock
    timing: Timing
    state: LinkState
    """For status."""
    outbound: Outbound
    renewal: Renewal
    sources: dict[str, SourceState]
    """Tell when all is read."""
    machine_id: str
    canary_s: int
    """Seconds from one canary to the next; 0: none."""
    upkeep: Upkeep | None
    """What the manager may ask for; nothing where it is None."""
    responses: Responses | None
    """Who carries out orders; None: nobody."""
    stir: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something to do."""
    probing: bool = False
    """Somebody wants to know whether the manager hears us."""
    stopping: bool = False
    """The agent is about to end."""


class _Sent(NamedTuple):
    last_seq: int
    size: int


class Session:
    """One connection, from HELLO to its end."""

    def __init__(self, standing: Standing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._standing = standing
        self._outbound, self._clock, self._timing = standing.outbound, standing.clock, standing.timing
        self.was_welcomed = False
        """The manager took us."""
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._decoder = msgspec.msgpack.Decoder(ToAgent)
        self._arrived: deque[ToAgent] = deque()
        self._failure: BaseException | None = None
        self._epoch = 0
        self._next = 0
        self._credit = 0
        self._fetched: deque[Batch] = deque()
        self._out: deque[_Sent] = deque()
        self._out_bytes = 0
        self._read_through_ms = 0
        self._replies: deque[ToManager] = deque()
        self._abilities: frozenset[str] = frozenset()
        self._told: dict[str, Responded] = {}
        """Order -> outcome that was said in this session."""
        self._ahead_ms = 0
        """What the manager's clock is ahead of ours."""
        self._base_ms = 0
        """What stands when our clock is not set (see `_zero_ms`), as it was when the manager heard our time last."""
        now = self._clock.monotonic_s()
        self._heard_s = now
        self._progress_s = now
        self._heartbeat_s = now + self._timing.heartbeat_s

    async def run(self) -> None:
        """Until the connection ends or the agent stops."""
        await self._greet()
        reading = asyncio.create_task(self._read())
        try:
            while True:
                self._standing.stir.clear()
                await self._obey()
                if self._failure is not None:
                    raise self._failure
                if self._standing.stopping and await self._all_done():
                    break
                if not await self._send_one():
                    await self._wait()
                self._check_alive()
            await self._send(Bye())
            self._writer.close()
            await self._writer.wait_closed()
        finally:
            reading.cancel()

    async def _greet(self) -> None:
        numbers = await self._outbound.numbers()
        self._epoch = numbers.epoch
        self._base_ms = self._zero_ms()
        await self._send(self._hello(numbers))
        async with asyncio.timeout(self._timing.connect_s):
            while not self._arrived:
                await self._take()
        welcome = self._arrived.popleft()
        if not isinstance(welcome, Welcome):
            await self._handle(welcome)
            raise RemoteProtocolError(f"expected a welcome, got {type(welcome).__name__}")
        self._next, self._credit = welcome.from_seq, welcome.credit
        self._ahead_ms = welcome.clock_ms - self._clock.now_ms()
        self._abilities = frozenset(welcome.abilities)
        self._welcomed(welcome)
        self._outbound.hurry(goes_on=True)
        self._renew()
        if welcome.from_seq > numbers.oldest:
            self._committed(welcome.from_seq - 1)

    def _hello(self, numbers: Numbers) -> Hello:
        """Who we are and what we have."""
        upkeep = self._standing.upkeep
        return Hello(
            version=PROTOCOL_VERSION,
            machine_id=self._standing.machine_id,
            epoch=numbers.epoch,
            oldest=numbers.oldest,
            next=numbers.next,
            chain=numbers.oldest_chain,
            clock_ms=self._clock.now_ms(),
            previous_epoch=numbers.previous_epoch,
            software=f"hids {__version__}",
            os=os_name(),
            hostname=socket.gethostname(),
            abilities=self._own_abilities(),
            labels=upkeep.labels if upkeep is not None else {},
            config=upkeep.shared_version if upkeep is not None else "",
            canary_s=self._standing.canary_s,
        )

    def _own_abilities(self) -> tuple[Ability, ...]:
        responds: tuple[Ability, ...] = ("respond",) if self._standing.responses is not None else ()
        return (*(ABILITIES if self._standing.upkeep is not None else ABILITIES[:1]), *responds)

    def _welcomed(self, welcome: Welcome) -> None:
        state = self._standing.state
        state.peer, state.heard_s = self._writer.get_extra_info("peername")[0], self._clock.monotonic_s()
        state.connected, state.problem = True, ""
        state.agent_id, state.agent_name = welcome.agent_id, welcome.agent_name
        self.was_welcomed = True
        log.info("session with the manager", manager=state.manager, agent=welcome.agent_id, from_seq=welcome.from_seq)

    # -- hearing

    async def _read(self) -> None:
        try:
            while True:
                await self._take()
                self._heard_s = self._clock.monotonic_s()
                self._standing.state.heard_s = self._heard_s
                self._standing.stir.set()
        except (OSError, RemoteProtocolError, Lost) as error:
            self._failure = error
            self._standing.stir.set()

    async def _take(self) -> None:
        data = await self._reader.read(65_536)
        if not data:
            raise Lost("the manager closed the connection")
        try:
            self._arrived.extend(map(self._decoder.decode, self._frames.feed(data)))
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError(f"the manager sent what is no message: {error}") from error

    async def _obey(self) -> None:
        while self._arrived:
            await self._handle(self._arrived.popleft())

    async def _handle(self, message: ToAgent) -> None:
        match message:
            case Ack():
                self._acked(message)
            case NewEpoch():
                log.warning("the manager asks for a new epoch", reason=message.reason, epoch=self._epoch)
                await self._outbound.open_epoch(message.after)
                raise Lost(f"new epoch: {message.reason}")
            case Refused():
                pause_s = message.retry_s or self._timing.refused_pause_s
                raise Lost(f"the manager refuses this agent: {message.reason}", pause_s)
            case Configuration():
                self._replies.append(self._configure(message))
            case Restart() | AskDigests() | Rescan():
                self._keep_up(message)
            case Respond() | Noted():
                self._respond(message)
            case Renewed():
                self._standing.renewal.take(message.certificate)
                raise Lost("the certificate is renewed", 0.0)
            case Welcome():
                raise RemoteProtocolError("a second welcome in one session")

    def _keep_up(self, message: Restart | AskDigests | Rescan) -> None:
        upkeep = self._standing.upkeep
        if upkeep is None:
            return
        if isinstance(message, Restart):
            upkeep.restart(message.by)
        else:
            upkeep.ask_syscheck(message)  # which answers among the lines

    def _respond(self, message: Respond | Noted) -> None:
        responses = self._standing.responses
        if isinstance(message, Noted):
            self._told.pop(message.order, None)
        if responses is None:
            return
        if isinstance(message, Respond):
            responses.obey(message, -self._ahead_ms)
        else:
            responses.noted(message)

    def _acked(self, ack: Ack) -> None:
        self._credit = ack.credit
        if ack.seq >= self._next:
            raise RemoteProtocolError(f"line {ack.seq} was acknowledged, but only {self._next - 1} were sent")
        moved = False
        while self._out and self._out[0].last_seq <= ack.seq:
            self._out_bytes -= self._out.popleft().size
            moved = True
        if moved:
            self._progress_s = self._clock.monotonic_s()
            self._committed(ack.seq)
            self._outbound.hurry(goes_on=not self._out)

    def _configure(self, message: Configuration) -> Configured:
        """Take what the manager sets, or not."""
        upkeep = self._standing.upkeep
        problem = "this agent takes none" if upkeep is None else upkeep.configure(message)
        labels = upkeep.labels if upkeep is not None and not problem else {}
        return Configured(message.version[:256], problem[:256], labels)

    def _committed(self, seq: int) -> None:
        """The manager has all through `seq`."""
        self._standing.state.acked = seq
        self._outbound.committed(self._epoch, seq)

    # -- speaking

    async def _send_one(self) -> bool:
        """Send a reply, a heartbeat or a batch if one is due and may go; say whether something was sent."""
        if self._replies:
            await self._send(self._replies.popleft())
            return True
        if self._standing.probing or self._clock.monotonic_s() >= self._heartbeat_s or self._clock_was_set():
            self._standing.probing = False
            await self._send_heartbeat()
            return True
        if (outcome := self._outcome()) is not None:
            self._told[outcome.order] = outcome
            await self._send(outcome)
            return True
        if not self._fetched:
            await self._fetch()
        if not self._fetched:
            return False
        batch = self._fetched[0]
        if self._out and self._out_bytes + len(batch.data) > self._credit:
            return False
        self._fetched.popleft()
        if not self._out:
            self._progress_s = self._clock.monotonic_s()
        self._next = batch.first_seq + batch.count
        self._out.append(_Sent(self._next - 1, len(batch.data)))
        self._out_bytes += len(batch.data)
        self._outbound.hurry(goes_on=False)
        await self._send(batch)
        return True

    def _outcome(self) -> Responded | None:
        """What became of an order and was not said in this session."""
        if self._standing.responses is None or "respond" not in self._abilities:
            return None
        waiting = self._standing.responses.outcomes
        return next((one for one in waiting.values() if self._told.get(one.order) is not one), None)

    async def _fetch(self) -> None:
        if not self._outbound.has_more(self._next):
            return
        batches = await self._outbound.fetch(self._next)
        if batches and batches[0].epoch != self._epoch:
            raise Lost("the spool has a new epoch")
        if not batches and self._outbound.has_more(self._next):
            # The manager asks for the middle of a batch, or for what is gone: two histories. Start a new one.
            await self._outbound.open_epoch(self._epoch)
            raise Lost(f"the manager asks for line {self._next}, where no batch begins; opened a new epoch")
        self._fetched.extend(batches)

    def _renew(self) -> None:
        renewal = self._standing.renewal.due() if "renew" in self._abilities else None
        if renewal is not None:
            self._replies.append(renewal)

    def _clock_was_set(self) -> bool:
        """Whether the manager must hear what our clock says now, before it hears of lines that go by it."""
        jump_ms = self._zero_ms() - self._base_ms
        if abs(jump_ms) < JUMP_MS:
            return False
        log.warning("the clock jumped", by_ms=jump_ms)
        self._ahead_ms -= jump_ms
        return True

    async def _send_heartbeat(self) -> None:
        self._renew()
        self._base_ms = self._zero_ms()
        all_sent = not self._fetched and not self._outbound.has_more(self._next)
        beat = self._heartbeat(all_sent=all_sent)
        self._heartbeat_s = self._clock.monotonic_s() + self._timing.heartbeat_s
        await self._send(beat)

    def _heartbeat(self, *, all_sent: bool) -> Heartbeat:
        """How we are."""
        now_ms = self._clock.now_ms()
        if self._read_through_ms > now_ms:
            self._read_through_ms = 0  # the clock was set back: what was said before is of another time
        if all_sent and not self._outbound.stopped and all(source.idle for source in self._standing.sources.values()):
            self._read_through_ms = now_ms - READ_LAG_MS
        return Heartbeat(
            clock_ms=now_ms,
            read_through_ms=self._read_through_ms,
            spooled=self._outbound.lines,
            stopped=self._outbound.stopped,
        )

    async def _send(self, message: ToManager) -> None:
        self._writer.write(frame(msgspec.msgpack.encode(message)))
        await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._timing.silence_s):
                await self._writer.drain()
        except TimeoutError as error:
            raise Lost("the manager takes nothing any more") from error

    # -- time

    def _zero_ms(self) -> int:
        """What our clock said when the monotonic one was zero: that changes when somebody sets it."""
        return self._clock.now_ms() - round(self._clock.monotonic_s() * 1000)

    async def _wait(self) -> None:
        """Until something happens or a heartbeat is due."""
        try:
            async with asyncio.timeout(max(0.0, self._heartbeat_s - self._clock.monotonic_s())):
                await self._standing.stir.wait()
        except TimeoutError:
            pass

    def _check_alive(self) -> None:
        silence_s, now = self._timing.silence_s, self._clock.monotonic_s()
        if now - self._heard_s > silence_s:
            raise Lost(f"the manager has been silent for {silence_s:g} s")
        if self._out and now - self._progress_s > silence_s:
            raise Lost(f"the manager has committed nothing for {silence_s:g} s")

    async def _all_done(self) -> bool:
        """Tell whether all that was read is committed; asking the spooler lets it store what it still has."""
        if self._out or self._fetched:
            return False
        return (await self._outbound.numbers()).next <= self._next
