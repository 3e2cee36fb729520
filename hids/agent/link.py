"""Link: the session with the manager, for as long as the agent lives.

    spooler --Batch (asked)--> link ==TLS==> manager;   manager ==Ack==> link --trimmed--> spooler

    manager ==Configuration, Restart==> link --> the agent (`Upkeep`);   link ==Renew==> manager ==Renewed==> identity

State    none: what is not acknowledged is in the spool and is sent again.
Order    Hello, then batches and heartbeats in sequence. At most the manager's credit is under way, but always a batch.
Away     a manager that is not there, refuses or falls silent is said once; trying goes on, with growing pauses, first
         with the other managers that the configuration names.
Renewal  a certificate that ends within RENEW_DAYS is replaced, with a new key; the old one is good until the new one is used.
"""

import asyncio
import hashlib
import random
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hids import __version__
from hids.actors.stage import Mailbox, Wake
from hids.adapters.identity import Identity, client_context, key_pem, make_csr, new_key
from hids.agent.collector import SourceState, TaskActor
from hids.agent.config import address_of
from hids.agent.linkstate import LinkState, Probe
from hids.agent.machine import os_name
from hids.agent.spool import Numbers
from hids.agent.spooler import AskNumbers, Desk, Fetch, OpenEpoch, Recall
from hids.agent.trouble import in_words
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.session import PROTOCOL_VERSION
from hids.errors import HidsError, RemoteProtocolError, StoreError
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
    Renew,
    Renewed,
    Rescan,
    Restart,
    ToAgent,
    ToManager,
    Welcome,
)
from hids.messages.lines import Append, Batch
from hids.messages.response import Noted, Respond, Responded
from hids.ports import Clock

log = structlog.get_logger()

IDENTITY_KEY = "link:identity"
"""Position that tells whose lines the spool holds."""
FETCH_BYTES = 1024 * 1024
"""Batches in memory that wait for credit."""
TRIM_S = 1.0
"""Trimming is a transaction of its own: not for each acknowledgement."""
READ_LAG_MS = 1_000
"""A line is noticed well within this after it was written; "read through" claims no more."""


RENEW_DAYS = 60
"""Long enough for a host that is seldom on; certificates are made for 825 days."""
JUMP_MS = 1_000
"""A clock that is off by so much more than a moment ago was set."""
RENEW_PAUSE_S = 86_400.0
"""After a renewal: by a clock that is ahead the new certificate may end soon, too."""
ABILITIES: tuple[Ability, ...] = ("renew", "configure", "restart", "syscheck")


class Upkeep(Protocol):
    """What a manager may ask of the agent (hids.agent.run)."""

    @property
    def labels(self) -> dict[str, str]:
        """What this host is."""
        ...

    @property
    def shared_version(self) -> str:
        """Version of the manager's configuration that runs; empty for none."""
        ...

    def configure(self, message: Configuration) -> str:
        """Take the manager's configuration whole, or say why not."""
        ...

    def restart(self, by: str) -> None:
        """Start anew."""
        ...

    def ask_syscheck(self, order: AskDigests | Rescan) -> None:
        """Have syscheck tell what it remembers, or look anew."""
        ...


class Responses(Protocol):
    """Who carries out the manager's orders (hids.agent.run); none where responses are off."""

    def obey(self, message: Respond, offset_ms: int) -> None:
        """Carry it out; `offset_ms` added to the manager's times gives ours."""
        ...

    def noted(self, message: Noted) -> None:
        """The manager knows an outcome."""
        ...

    @property
    def outcomes(self) -> Mapping[str, Responded]:
        """What the manager must hear, by order."""
        ...


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


class _Lost(HidsError):  # noqa: N818 - a state of the connection
    """The session is over; try again."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        """None: the usual, growing one."""


class _Sent(NamedTuple):
    last_seq: int
    size: int


class Link(TaskActor):
    """Bring what is in the spool to the manager."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        desk: Desk,
        state: LinkState,
        sources: dict[str, SourceState],
        folder: Path,
        machine_id: str,
        clock: Clock,
        address: str = "",
        timing: Timing | None = None,
        others: Sequence[str] = (),
        upkeep: Upkeep | None = None,
        canary_s: int = 0,
        responses: Responses | None = None,
    ) -> None:
        """A link.

        Args:
            mailbox: its own.
            spool: the spooler's.
            desk: the spooler's registers.
            state: for status.
            sources: tells when all is read.
            folder: has the identity.
            machine_id: of this host.
            clock: time.
            address: if given, is used instead of the identity's.
            timing: waits.
            others: managers for when the first does not answer.
            upkeep: what the manager may ask for; nothing where it is None.
            canary_s: seconds from one canary to the next; 0: none.
            responses: who carries out orders; None: nobody.
        """
        super().__init__(mailbox)
        self._others = tuple(others)
        self._turn = 0
        self._was_welcomed = False
        self._upkeep = upkeep
        self._identity: Identity | None = None
        self._new_key: EllipticCurvePrivateKey | None = None
        self._renewed_s = float("-inf")
        self._spool = spool
        self._desk = desk
        self._state = state
        self._sources = sources
        self._folder = folder
        self._machine_id = machine_id
        self._clock = clock
        self._address = address
        self._timing = timing or Timing()
        self._canary_s = canary_s
        self.responses = responses
        """Who carries out orders."""
        self.probing = False
        """Somebody wants to know whether the manager hears us."""
        self._stir = asyncio.Event()
        self._stopping = False
        self._trim_timer: asyncio.TimerHandle | None = None
        self._pause_s = self._timing.first_pause_s
        self._said = ""

    def on_receive(self, message: Any) -> None:
        """There is something new in the spool."""
        match message:
            case Probe():
                self.probing = True
                self._stir.set()
            case Wake():
                self._stir.set()
            case _:
                super().on_receive(message)

    def on_shutdown(self) -> None:
        """Deliver what is left, for a moment, and say goodbye."""
        self._stopping = True
        self._stir.set()
        self.loop.call_later(self._timing.farewell_s, super().on_shutdown)
        if not self._state.connected:
            super().on_shutdown()

    def closing(self) -> None:
        """End the session; the spooler shall trim now, as it may stop next."""
        super().closing()
        if self._trim_timer is not None:
            self._trim_timer.cancel()
            self._trim()

    async def run(self) -> None:
        """Hold one session after the other."""
        while not self._stopping:
            try:
                await self._session()
            except _Lost as lost:
                self._away(str(lost))
                await self._rest(lost.pause_s)
            except (OSError, StoreError, RemoteProtocolError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._away(in_words(error))
                await self._rest(None)
            finally:
                self._state.connected = False
                self._turn = 0 if self._was_welcomed else self._turn + 1
                self._was_welcomed = False

    def _addresses(self, identity: Identity) -> list[tuple[str, int]]:
        """The managers, the first one first."""
        first = address_of(self._address) if self._address else (identity.manager, identity.port)
        return [first, *map(address_of, self._others)]

    async def _be(self, identity: Identity) -> None:
        """Begin a new epoch when the agent has joined anew: its new self has no history with the manager."""
        who = hashlib.sha256(identity.ca + identity.agent_id.encode()).digest()
        saved: dict[str, bytes] = await self._spool.request(Recall(IDENTITY_KEY))
        if saved.get(IDENTITY_KEY, who) != who:
            await self.open_epoch(0)
        if saved.get(IDENTITY_KEY) != who:
            self._spool.tell(Append(source=self.mailbox.name, lines=(), positions={IDENTITY_KEY: who}))

    async def _rest(self, pause_s: float | None) -> None:
        managers = len(self._others) + 1
        if not self._was_welcomed and (self._turn + 1) % managers:
            pause_s = self._timing.first_pause_s  # another one is next
        if pause_s is None:
            pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads a fleet, hides nothing
            self._pause_s = min(self._pause_s * 2, self._timing.max_pause_s)
        if not self._stopping:
            await asyncio.sleep(pause_s)

    def _away(self, problem: str) -> None:
        self._state.connected = False  # before the pause, not behind it
        self._state.problem = problem
        self.hurry(goes_on=False)
        if problem != self._said:
            self._said = problem
            log.warning("no session with the manager, trying on", manager=self._state.manager, reason=problem)

    async def _session(self) -> None:
        identity = Identity.read(self._folder)
        if identity is None:
            raise _Lost(f"not joined: {Identity.file(self._folder)} is gone; run hids-agent join")
        self._identity = identity
        addresses = self._addresses(identity)
        host, port = addresses[self._turn % len(addresses)]
        self._state.manager = f"{host}:{port}"
        await self._be(identity)
        context = client_context(identity.ca, Identity.file(self._folder))
        async with asyncio.timeout(self._timing.connect_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            await _Session(self, reader, writer).run()
        finally:
            writer.transport.abort()

    # -- for the session

    def welcomed(self, welcome: Welcome) -> None:
        """The manager took us."""
        self._was_welcomed = True
        self._pause_s = self._timing.first_pause_s
        self._said = ""
        self._state.connected = True
        self._state.problem = ""
        self._state.agent_id, self._state.agent_name = welcome.agent_id, welcome.agent_name
        log.info(
            "session with the manager", manager=self._state.manager, agent=welcome.agent_id, from_seq=welcome.from_seq
        )

    def committed(self, epoch: int, seq: int) -> None:
        """The manager has all through `seq`."""
        self._state.acked = seq
        self._desk.trimmed = (epoch, seq)
        if self._trim_timer is None:
            self._trim_timer = self.loop.call_later(TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trim_timer = None
        self._spool.wake()

    def hurry(self, *, goes_on: bool) -> None:
        """Tell the spooler whether what it stores can go at once."""
        self._desk.hurry = goes_on
        if goes_on and self._desk.waiting:
            self._spool.wake()

    async def ask_numbers(self) -> Numbers:
        """Numbers for a HELLO."""
        numbers: Numbers = await self._spool.request(AskNumbers())
        return numbers

    async def open_epoch(self, after: int) -> None:
        """Number the spool anew."""
        await self._spool.request(OpenEpoch(after))

    async def fetch(self, from_seq: int) -> tuple[Batch, ...]:
        """The next batches; none when there are none."""
        batches: tuple[Batch, ...] = await self._spool.request(Fetch(from_seq, FETCH_BYTES))
        return batches

    def hello(self, numbers: Numbers) -> Hello:
        """Who we are and what we have."""
        return Hello(
            version=PROTOCOL_VERSION,
            machine_id=self._machine_id,
            epoch=numbers.epoch,
            oldest=numbers.oldest,
            next=numbers.next,
            chain=numbers.oldest_chain,
            clock_ms=self._clock.now_ms(),
            previous_epoch=numbers.previous_epoch,
            software=f"hids {__version__}",
            os=os_name(),
            hostname=socket.gethostname(),
            abilities=self._abilities(),
            labels=self._upkeep.labels if self._upkeep is not None else {},
            config=self._upkeep.shared_version if self._upkeep is not None else "",
            canary_s=self._canary_s,
        )

    def _abilities(self) -> tuple[Ability, ...]:
        responds: tuple[Ability, ...] = ("respond",) if self.responses is not None else ()
        return (*(ABILITIES if self._upkeep is not None else ABILITIES[:1]), *responds)

    def heard(self) -> None:
        """The manager said something."""
        self._state.heard_s = self._clock.monotonic_s()

    def met(self, address: str) -> None:
        """There the manager is."""
        self._state.peer = address

    def obey(self, message: Respond, clock_ms: int) -> None:
        """An order; `clock_ms` is what the manager's clock is ahead of ours."""
        if self.responses is not None:
            self.responses.obey(message, -clock_ms)

    # -- upkeep

    def renewal(self) -> Renew | None:
        """Ask for a new certificate when this one ends soon."""
        identity = self._identity
        if identity is None or self._new_key is not None:
            return None
        if self._clock.monotonic_s() - self._renewed_s < RENEW_PAUSE_S:
            return None
        left_ms = identity.ends_ms - self._clock.now_ms()
        if left_ms > RENEW_DAYS * 86_400_000:
            return None
        self._new_key = new_key()
        log.info("certificate ends soon, asking for a new one", days=left_ms // 86_400_000)
        return Renew(make_csr(self._new_key))

    def renewed(self, certificate: bytes) -> None:
        """Use the new certificate from now on.

        Raises:
            RemoteProtocolError: it is not for our key, from our CA and with our id; the old one stays.
        """
        identity, key, self._new_key = self._identity, self._new_key, None
        if identity is None or key is None:
            raise RemoteProtocolError("a certificate came that nobody asked for")
        new = Identity(
            manager=identity.manager, port=identity.port, key=key_pem(key), certificate=certificate, ca=identity.ca
        )
        new.check(identity.agent_id)
        new.write(self._folder)
        self._renewed_s = self._clock.monotonic_s()
        log.info("certificate renewed", agent=new.agent_id)
        raise _Lost("the certificate is renewed", 0.0)

    def forget_renewal(self) -> None:
        """A session is over; what it asked for does not come any more."""
        self._new_key = None

    def configure(self, message: Configuration) -> Configured:
        """Take what the manager sets, or not."""
        problem = "this agent takes none" if self._upkeep is None else self._upkeep.configure(message)
        labels = self._upkeep.labels if self._upkeep is not None and not problem else {}
        return Configured(message.version[:256], problem[:256], labels)

    def restart(self, message: Restart) -> None:
        """Start anew."""
        if self._upkeep is not None:
            self._upkeep.restart(message.by)

    def ask_syscheck(self, message: AskDigests | Rescan) -> None:
        """Have syscheck answer, among the lines."""
        if self._upkeep is not None:
            self._upkeep.ask_syscheck(message)

    def heartbeat(self, *, all_sent: bool, read_through_ms: int) -> Heartbeat:
        """How we are. `read_through_ms` is what the last one said."""
        now_ms = self._clock.now_ms()
        if read_through_ms > now_ms:
            read_through_ms = 0  # the clock was set back: what was said before is of another time
        if all_sent and not self._desk.stopped and all(source.idle for source in self._sources.values()):
            read_through_ms = now_ms - READ_LAG_MS
        return Heartbeat(
            clock_ms=now_ms,
            read_through_ms=read_through_ms,
            spooled=self._desk.lines,
            stopped=self._desk.stopped,
        )

    @property
    def timing(self) -> Timing:
        """How long to wait."""
        return self._timing

    @property
    def stir(self) -> asyncio.Event:
        """Set when there may be something to do."""
        return self._stir

    @property
    def stopping(self) -> bool:
        """The agent is about to end."""
        return self._stopping

    def now_ms(self) -> int:
        """Our clock."""
        return self._clock.now_ms()

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic_s()

    def base_ms(self) -> int:
        """What our clock said when the monotonic one was zero: that changes when somebody sets it."""
        return self._clock.now_ms() - round(self._clock.monotonic_s() * 1000)

    def has_more(self, next_seq: int) -> bool:
        """Tell whether the spool holds lines from `next_seq` on."""
        return self._desk.next > next_seq


class _Session:
    """One connection, from HELLO to its end."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
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
        """What stands when our clock is not set (see `Link.base_ms`), as it was when the manager heard our time last."""
        now = link.now_s()
        self._heard_s = now
        self._progress_s = now
        self._heartbeat_s = now + link.timing.heartbeat_s

    async def run(self) -> None:
        """Until the connection ends or the agent stops."""
        await self._greet()
        reading = asyncio.create_task(self._read())
        try:
            while True:
                self._link.stir.clear()
                await self._obey()
                if self._failure is not None:
                    raise self._failure
                if self._link.stopping and await self._all_done():
                    break
                if not await self._send_one():
                    await self._wait()
                self._check_alive()
            await self._send(Bye())
            self._writer.close()
            await self._writer.wait_closed()
        finally:
            reading.cancel()
            self._link.forget_renewal()

    async def _greet(self) -> None:
        numbers = await self._link.ask_numbers()
        self._epoch = numbers.epoch
        self._base_ms = self._link.base_ms()
        await self._send(self._link.hello(numbers))
        async with asyncio.timeout(self._link.timing.connect_s):
            while not self._arrived:
                await self._take()
        welcome = self._arrived.popleft()
        if not isinstance(welcome, Welcome):
            await self._handle(welcome)
            raise RemoteProtocolError(f"expected a welcome, got {type(welcome).__name__}")
        self._next, self._credit = welcome.from_seq, welcome.credit
        self._ahead_ms = welcome.clock_ms - self._link.now_ms()
        self._link.met(self._writer.get_extra_info("peername")[0])
        self._link.heard()
        self._abilities = frozenset(welcome.abilities)
        self._link.welcomed(welcome)
        self._link.hurry(goes_on=True)
        self._renew()
        if welcome.from_seq > numbers.oldest:
            self._link.committed(self._epoch, welcome.from_seq - 1)

    # -- hearing

    async def _read(self) -> None:
        try:
            while True:
                await self._take()
                self._heard_s = self._link.now_s()
                self._link.heard()
                self._link.stir.set()
        except (OSError, RemoteProtocolError, _Lost) as error:
            self._failure = error
            self._link.stir.set()

    async def _take(self) -> None:
        data = await self._reader.read(65_536)
        if not data:
            raise _Lost("the manager closed the connection")
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
                await self._link.open_epoch(message.after)
                raise _Lost(f"new epoch: {message.reason}")
            case Refused():
                pause_s = message.retry_s or self._link.timing.refused_pause_s
                raise _Lost(f"the manager refuses this agent: {message.reason}", pause_s)
            case Configuration():
                self._replies.append(self._link.configure(message))
            case Restart():
                self._link.restart(message)
            case AskDigests() | Rescan():
                self._link.ask_syscheck(message)
            case Respond():
                self._link.obey(message, self._ahead_ms)
            case Noted():
                if self._link.responses is not None:
                    self._link.responses.noted(message)
                self._told.pop(message.order, None)
            case Renewed():
                self._link.renewed(message.certificate)
            case Welcome():
                raise RemoteProtocolError("a second welcome in one session")

    def _acked(self, ack: Ack) -> None:
        self._credit = ack.credit
        if ack.seq >= self._next:
            raise RemoteProtocolError(f"line {ack.seq} was acknowledged, but only {self._next - 1} were sent")
        moved = False
        while self._out and self._out[0].last_seq <= ack.seq:
            self._out_bytes -= self._out.popleft().size
            moved = True
        if moved:
            self._progress_s = self._link.now_s()
            self._link.committed(self._epoch, ack.seq)
            self._link.hurry(goes_on=not self._out)

    # -- speaking

    async def _send_one(self) -> bool:
        """Send a reply, a heartbeat or a batch if one is due and may go; say whether something was sent."""
        if self._replies:
            await self._send(self._replies.popleft())
            return True
        if self._link.probing or self._link.now_s() >= self._heartbeat_s or self._clock_was_set():
            self._link.probing = False
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
            self._progress_s = self._link.now_s()
        self._next = batch.first_seq + batch.count
        self._out.append(_Sent(self._next - 1, len(batch.data)))
        self._out_bytes += len(batch.data)
        self._link.hurry(goes_on=False)
        await self._send(batch)
        return True

    def _outcome(self) -> Responded | None:
        """What became of an order and was not said in this session."""
        if self._link.responses is None or "respond" not in self._abilities:
            return None
        waiting = self._link.responses.outcomes
        return next((one for one in waiting.values() if self._told.get(one.order) is not one), None)

    async def _fetch(self) -> None:
        if not self._link.has_more(self._next):
            return
        batches = await self._link.fetch(self._next)
        if batches and batches[0].epoch != self._epoch:
            raise _Lost("the spool has a new epoch")
        if not batches and self._link.has_more(self._next):
            # The manager asks for the middle of a batch, or for what is gone: two histories. Start a new one.
            await self._link.open_epoch(self._epoch)
            raise _Lost(f"the manager asks for line {self._next}, where no batch begins; opened a new epoch")
        self._fetched.extend(batches)

    def _renew(self) -> None:
        renewal = self._link.renewal() if "renew" in self._abilities else None
        if renewal is not None:
            self._replies.append(renewal)

    def _clock_was_set(self) -> bool:
        """Whether the manager must hear what our clock says now, before it hears of lines that go by it."""
        jump_ms = self._link.base_ms() - self._base_ms
        if abs(jump_ms) < JUMP_MS:
            return False
        log.warning("the clock jumped", by_ms=jump_ms)
        self._ahead_ms -= jump_ms
        return True

    async def _send_heartbeat(self) -> None:
        self._renew()
        self._base_ms = self._link.base_ms()
        all_sent = not self._fetched and not self._link.has_more(self._next)
        beat = self._link.heartbeat(all_sent=all_sent, read_through_ms=self._read_through_ms)
        self._read_through_ms = beat.read_through_ms
        self._heartbeat_s = self._link.now_s() + self._link.timing.heartbeat_s
        await self._send(beat)

    async def _send(self, message: ToManager) -> None:
        self._writer.write(frame(msgspec.msgpack.encode(message)))
        await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._link.timing.silence_s):
                await self._writer.drain()
        except TimeoutError as error:
            raise _Lost("the manager takes nothing any more") from error

    # -- time

    async def _wait(self) -> None:
        """Until something happens or a heartbeat is due."""
        try:
            async with asyncio.timeout(max(0.0, self._heartbeat_s - self._link.now_s())):
                await self._link.stir.wait()
        except TimeoutError:
            pass

    def _check_alive(self) -> None:
        silence_s, now = self._link.timing.silence_s, self._link.now_s()
        if now - self._heard_s > silence_s:
            raise _Lost(f"the manager has been silent for {silence_s:g} s")
        if self._out and now - self._progress_s > silence_s:
            raise _Lost(f"the manager has committed nothing for {silence_s:g} s")

    async def _all_done(self) -> bool:
        """Tell whether all that was read is committed; asking the spooler lets it store what it still has."""
        if self._out or self._fetched:
            return False
        return (await self._link.ask_numbers()).next <= self._next
