"""OssecLink: brings what is in the spool to a real OSSEC manager (`protocol = "ossec"`), in the place of `Link`.

    spooler --Batch (asked)--> ossec link ==UDP==> OSSEC manager

State    counters.json: the numbers that were used, so that neither side takes an old message for a new one.
Order    a batch, then a keep-alive; when that is acknowledged the batch counts as delivered. The protocol acknowledges
         keep-alives only: a datagram lost on the way is lost, a manager that is away is waited for.
Orders   shared files are stored, a scan is begun. Active responses of its ar.conf are carried out where [response] enabled =
         true says so: they are protected by the agent's key only, not signed.
"""

import asyncio
import contextlib
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hids import __version__
from hids.actors.stage import Mailbox, Wake
from hids.adapters.files import private_folder, write_atomically
from hids.agent.collector import TaskActor
from hids.agent.linkstate import LinkState, Probe
from hids.agent.ossec_identity import KEY_FILE, read_key
from hids.agent.spool import Numbers
from hids.agent.spooler import AskNumbers, Desk, Fetch, OpenEpoch, Recall
from hids.core.collect.config import ManagerConfig, address_of
from hids.core.wire.lines import unpack
from hids.core.wire.ossec import control
from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.control import keepalive, read_from_manager
from hids.core.wire.ossec.counters import Seen, first_sent, following
from hids.core.wire.ossec.datagram import open_sealed, seal, split
from hids.core.wire.ossec.departures import departures, is_change
from hids.core.wire.ossec.events import LOG, encode_event
from hids.core.wire.ossec.executed import as_order, read_ar_conf
from hids.core.wire.ossec.files import MERGED, Receiver, md5_of, split_merged
from hids.core.wire.ossec.keys import ClientKey, encryption_key
from hids.core.wire.ossec.message import Message
from hids.core.wire.ossec.response import decode
from hids.errors import HidsError, RemoteProtocolError, StoreError
from hids.messages.lines import Append, Batch
from hids.messages.response import ResponseOrder
from hids.ports import Clock

log = structlog.get_logger()

FETCH_BYTES = 256 * 1024
BURST, BURST_REST_S = 50, 0.02
"""Datagrams in one go, and the rest after them: the manager has one thread and a small buffer."""
STARTUP_WAITS_S = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
ACK_WAITS_S = (3.0, 5.0, 10.0)
DELIVERED_WAITS_S = (3.0,)
MAX_PAUSE_S = 60.0
IDENTITY_KEY = "link:identity"
SHARED = "shared"
AR_CONF = "ar.conf"
COUNTERS_FILE = "counters.json"
_METHODS = {"aes": Method.OSSEC_AES, "blowfish": Method.BLOWFISH}


class Used(msgspec.Struct, frozen=True):
    """counters.json."""

    sent: int = 0
    """Global counter that may have been used."""
    seen: Seen = Seen()


class _Away(HidsError):  # noqa: N818 - a state of the manager
    """No acknowledgement came."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, got: Callable[[bytes], None]) -> None:
        self._got = got

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._got(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there; the missing acknowledgement says so."""


class OssecLink(TaskActor):
    """Hold one session after the other with a manager that has none."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        desk: Desk,
        state: LinkState,
        folder: Path,
        config: ManagerConfig,
        clock: Clock,
        scan: Callable[[], None],
        execute: Callable[[ResponseOrder], None] | None = None,
    ) -> None:
        """`folder` has client.keys; `scan` begins a scan of syscheck; `execute` carries out a response, None: none are."""
        super().__init__(mailbox)
        self._spool = spool
        self._desk = desk
        self._state = state
        self._folder = folder
        self._config = config
        self._clock = clock
        self._scan = scan
        self._execute = execute
        self._probing = False
        self._used = _read_used(folder / COUNTERS_FILE)
        self._sent = first_sent(self._used.sent, clock.now_ms() // 1000)
        self._stir = asyncio.Event()
        self._acked = asyncio.Event()
        self._receiver = Receiver()
        self._transport: asyncio.DatagramTransport | None = None
        self._key: ClientKey | None = None
        self._keyring = Keyring(bytes(47))
        self._method = _METHODS[config.crypto]
        self._completed = False
        """The manager has been told that all there was has been told."""
        self._merged = _stored_sum(folder)
        self._announced = False
        """The manager has been told that we started."""
        self._stopping = False

    def on_receive(self, message: Any) -> None:
        """There is something new in the spool."""
        match message:
            case Probe():
                self._probing = True
                self._stir.set()
            case Wake():
                self._stir.set()
            case _:
                super().on_receive(message)

    def on_shutdown(self) -> None:
        """End; what is not delivered stays in the spool."""
        self._stopping = True
        super().on_shutdown()

    async def run(self) -> None:
        """Try until the agent stops."""
        pause_s, said = 1.0, ""
        while not self._stopping:
            try:
                await self._session()
            except (_Away, OSError, StoreError, RemoteProtocolError) as error:
                if self._state.connected:
                    pause_s = 1.0
                self._state.problem = str(error)
                if str(error) != said:
                    said = str(error)
                    log.warning(
                        "the OSSEC manager does not answer, trying on", manager=self._state.manager, reason=said
                    )
            finally:
                self._state.connected = False
                if self._transport is not None:
                    self._transport.close()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def _session(self) -> None:
        key = read_key(self._folder)
        if key is None:
            raise _Away(f"not enrolled: {self._folder / KEY_FILE} is gone; run hids-agent join-ossec")
        self._key, self._keyring = key, Keyring(encryption_key(key))
        self._state.manager = self._config.address
        self._state.agent_id, self._state.agent_name = key.id, key.name
        await self._be(key)
        self._transport, _ = await self.loop.create_datagram_endpoint(
            lambda: _Datagrams(self._got), remote_addr=address_of(self._config.address)
        )
        self._state.peer = str(self._transport.get_extra_info("peername")[0])
        await self._ask(control.STARTUP, STARTUP_WAITS_S)
        self._state.connected, self._state.problem = True, ""
        log.info("the OSSEC manager answers", manager=self._state.manager, agent=key.id)
        if not self._announced:  # OSSEC's agents say so when they start, and not when they connect again
            self._announced = True
            self._send(encode_event(LOG, "ossec", f"ossec: Agent started: '{key.name}->{key.ip}'.".encode()))
        await self._live()

    async def _live(self) -> None:
        """Deliver what there is; say now and then that we are there."""
        numbers: Numbers = await self._spool.request(AskNumbers())
        next_seq = numbers.oldest
        await self._keep_alive(ACK_WAITS_S)
        while True:
            self._stir.clear()
            if self._probing:
                self._probing = False
                await self._keep_alive(ACK_WAITS_S)
            batches: tuple[Batch, ...] = await self._spool.request(Fetch(next_seq, FETCH_BYTES))
            for batch in batches:
                await self._deliver(batch)
                next_seq = batch.first_seq + batch.count
            if not batches:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._config.notify_s):
                        await self._stir.wait()
                        continue
                await self._keep_alive(ACK_WAITS_S)

    async def _deliver(self, batch: Batch) -> None:
        sent = 0
        for line in unpack(batch.data, batch.count):
            if not self._completed and is_change(line):
                self._completed = True
                self._send(b"8:syscheck:syscheck-db-completed")
            for payload in departures(line):
                self._send(payload)
                sent += 1
                if sent % BURST == 0:
                    await asyncio.sleep(BURST_REST_S)
        # Asked once: what came before a keep-alive that was lost may be lost, too, and is sent again in the next session.
        await self._keep_alive(DELIVERED_WAITS_S)
        self._remember(
            self._used
        )  # before the lines go: an old acknowledgement that somebody kept must not count again
        seq = batch.first_seq + batch.count - 1
        self._state.acked = seq
        self._desk.trimmed = (batch.epoch, seq)
        self._spool.wake()

    async def _keep_alive(self, waits_s: tuple[float, ...]) -> None:
        name = platform.uname()
        system = f"{name.system} {name.node} {name.release} {name.version} {name.machine}"
        # An OSSEC manager looks for the version of its own agents; the name tells what we are.
        await self._ask(keepalive(system, f"OSSEC HIDS v4.2.0 (hids {__version__})", self._merged), waits_s)

    async def _ask(self, payload: bytes, waits_s: tuple[float, ...]) -> None:
        """Send until it is acknowledged."""
        self._acked.clear()
        for wait_s in waits_s:
            self._send(payload)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._acked.wait()
                    return
        raise _Away("no acknowledgement; does the manager run, is the key right, and its cipher the one configured?")

    def _send(self, payload: bytes) -> None:
        key = self._key
        if key is None or self._transport is None or not payload:
            return
        number = following(self._sent)
        if number.global_ > self._used.sent:  # on disk before it is used
            self._remember(msgspec.structs.replace(self._used, sent=number.global_))
        self._sent = number
        message = Message(payload, number, int.from_bytes(os.urandom(2), "big"))
        named = "" if key.is_single_address else key.id
        self._transport.sendto(seal(message, self._keyring, self._method, os.urandom, named))

    # -- what the manager says

    def _got(self, data: bytes) -> None:
        try:
            message, method = open_sealed(split(data), self._keyring)
            seen = self._used.seen.accept(message.counters)
            if method is not self._method or seen is None:
                return
            self._used = msgspec.structs.replace(self._used, seen=seen)
            if message.payload.startswith(control.MARK):
                self._obey(*read_from_manager(message.payload))
            else:
                self._receiver.add(message.payload)
        except RemoteProtocolError as error:
            log.warning("the OSSEC manager sent what cannot be used", reason=str(error))
        except StoreError as error:
            log.error("what the OSSEC manager sent cannot be stored", reason=str(error))  # noqa: TRY400

    def _obey(self, what: str, rest: bytes) -> None:
        if what == "ack":
            self._state.heard_s = self._clock.monotonic_s()
            self._acked.set()
            return
        self._remember(self._used)  # before anything is done: it must not be done again
        match what:
            case "up":
                self._receiver.up(rest)
            case "close":
                self._store()
            case "syscheck":
                log.info("the OSSEC manager asks for a scan")
                self._scan()
            case "execd":
                self._respond(rest)
            case _:
                log.warning("the OSSEC manager says what is not known", what=rest[:80])

    def _respond(self, rest: bytes) -> None:
        if self._execute is None:
            log.warning("the OSSEC manager orders an active response; none are carried out", order=rest[:200])
            return
        path = self._folder / SHARED / AR_CONF
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        self._execute(as_order(decode(rest), read_ar_conf(text), self._clock.now_ms()))

    def _store(self) -> None:
        """Keep merged.mg, and what is in it, below the state folder; of it only ar.conf is looked at."""
        pushed = self._receiver.close()
        if pushed is None:
            log.warning("a shared file came damaged; the manager will send it again")
            return
        folder = self._folder / SHARED
        private_folder(folder)
        files = split_merged(pushed.content) if pushed.name == MERGED else {}
        for name, content in (*files.items(), (pushed.name, pushed.content)):
            write_atomically(folder / name, content)
        if pushed.name == MERGED:
            self._merged = md5_of(pushed.content)
        log.info("shared files stored", folder=str(folder), files=len(files))

    # -- what lasts

    def _remember(self, used: Used) -> None:
        write_atomically(self._folder / COUNTERS_FILE, msgspec.json.encode(used))
        self._used = used

    async def _be(self, key: ClientKey) -> None:
        """Begin a new epoch of the spool when this agent reported to somebody else before."""
        who = hashlib.sha256(f"ossec {self._config.address} {key.id}".encode()).digest()
        saved: dict[str, bytes] = await self._spool.request(Recall(IDENTITY_KEY))
        if saved.get(IDENTITY_KEY, who) != who:
            await self._spool.request(OpenEpoch(0))
        if saved.get(IDENTITY_KEY) != who:
            self._spool.tell(Append(source=self.mailbox.name, lines=(), positions={IDENTITY_KEY: who}))


def _read_used(path: Path) -> Used:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Used)
    except FileNotFoundError:
        return Used()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("counters cannot be read; they begin at the time of day", path=str(path), reason=str(error))
        return Used()


def _stored_sum(folder: Path) -> str:
    try:
        return md5_of((folder / SHARED / MERGED).read_bytes())
    except OSError:
        return ""
