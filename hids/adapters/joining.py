"""The manager's side of joining: a port where anybody may connect, and the desk that answers.

    connection --CaRequest | JoinRequest--> JoinListener --> JoinDesk --> Authority, Registry
                                            one question, one answer, closed

Strangers talk to this port, so all is bounded: connections, bytes and time. No connection outlives
`TIMEOUT_S`, whatever its peer does or fails to do.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import assert_never

import msgspec
import structlog

from hids.adapters.approvals import Waits
from hids.adapters.identity import ALPN
from hids.adapters.newcomer import Newcomer
from hids.adapters.pki import Authority
from hids.adapters.registry import Registry
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.ossec.enrol import MAX_REQUEST_BYTES, OLD_START, is_whole
from hids.errors import HidsError, JoinRefused, RemoteProtocolError
from hids.messages.joining import (
    MAX_JOIN_BYTES,
    CaAnswer,
    CaRequest,
    FromJoin,
    JoinAnswer,
    JoinPending,
    JoinRefusal,
    JoinRequest,
    ToJoin,
)
from hids.messages.terms import AgentId

MAX_CONNECTIONS = 100
PENDING_RETRY_S = 2
"""After which a machine that waits for approval shall ask again."""
TIMEOUT_S = 10.0
"""From accepting a connection to its end, TLS handshake included."""

Answer = Callable[[ToJoin, str], Awaitable[FromJoin]]
"""Answers a question that came from this address."""

Enrol = Callable[[bytes, str], Awaitable[bytes]]
"""Answers an enrolment in the grammar of OSSEC and Wazuh."""

_ACCEPT_PAUSE_S = 0.1
"""Wait after a failed accept: out of descriptors, most likely, and trying at once would only burn the CPU."""

_log = structlog.get_logger(__name__)
_questions: msgspec.msgpack.Decoder[ToJoin] = msgspec.msgpack.Decoder(ToJoin)


class JoinDesk:
    """Answers who joins; use it on the registry's thread."""

    def __init__(
        self, authority: Authority, registry: Registry, session_port: int, note: Callable[[str], None] = lambda _: None
    ) -> None:
        """`note` is told what people should know: who waits, and clones."""
        self._note = note
        self._authority = authority
        self._registry = registry
        self._session_port = session_port

    def answer(self, message: ToJoin, peer_ip: str, now_ms: int) -> FromJoin:
        """Show the CA, or take an agent in; a refusal is an answer.

        Raises:
            StoreError: the registry cannot be written.
        """
        match message:
            case CaRequest():
                return CaAnswer(pem=self._authority.ca_pem)
            case JoinRequest():
                try:
                    return self._join(message, peer_ip, now_ms)
                except JoinRefused as refusal:
                    return JoinRefusal(reason=str(refusal))
                except Waits as waits:
                    if waits.is_new:
                        self._note(f"agent waits: {message.name} at {peer_ip}")
                    return JoinPending(reason=str(waits), retry_s=PENDING_RETRY_S)
            case _:
                assert_never(message)

    def _join(self, request: JoinRequest, peer_ip: str, now_ms: int) -> JoinAnswer:
        newcomer = Newcomer(
            name=request.name,
            machine_id=request.machine_id,
            address=peer_ip,
            os=request.os,
            software=request.software,
            key=self._authority.key_of(request.csr),
        )
        clone_of = self._registry.clone_of(newcomer)

        def sign(agent_id: AgentId) -> bytes:
            return self._authority.sign_agent(request.csr, agent_id, request.name)

        row, certificate = self._registry.enrol(request.token, newcomer, now_ms, sign)
        if clone_of is not None:
            self._note(
                f"agent cloned: {row.name} at {peer_ip} has the machine id of agent {clone_of.id} ({clone_of.name}), "
                f"but not its key; it is agent {row.id} now"
            )
        return JoinAnswer(
            agent_id=row.id,
            name=row.name,
            certificate=certificate,
            ca=self._authority.ca_pem,
            session_port=self._session_port,
        )


class JoinListener:
    """Takes questions on the joining port, on the running event loop."""

    def __init__(self, max_connections: int = MAX_CONNECTIONS, timeout_s: float = TIMEOUT_S) -> None:
        self._max_connections = max_connections
        self._timeout_s = timeout_s
        self._serving: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None
        self._enrol: Enrol | None = None
        self.outcomes: Counter[str] = Counter()
        """Connections by how they ended: "answered", "full", "timeout", "protocol", "network", "failed"."""

    def start(
        self, listening: socket.socket, context: ssl.SSLContext, answer: Answer, enrol: Enrol | None = None
    ) -> None:
        """Serve a socket that listens (hids.adapters.listening); it is closed by `stop`.

        Args:
            listening: non-blocking.
            context: from `Authority.joining_context`.
            answer: called once a connection at most.
            enrol: the same for agents of OSSEC and Wazuh; None: they are not served.
        """
        self._enrol = enrol
        self._listening = listening
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listening, context, answer))

    async def stop(self) -> None:
        """Close the port and all connections."""
        tasks = {*self._serving, *({self._accepting} if self._accepting else ())}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # asyncio closes the sockets of aborted connections in its next round
        if self._listening:
            self._listening.close()

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                _log.warning("joining port cannot accept", error=str(error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if len(self._serving) >= self._max_connections:
                connection.close()
                self.outcomes["full"] += 1
                continue
            task = asyncio.create_task(self._serve(connection, _plain_ip(peer[0]), context, answer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket, ip: str, context: ssl.SSLContext, answer: Answer) -> None:
        """See one connection through, and count how it ended."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._converse(connection, ip, context, answer)
            outcome, why = "answered", ""
        except TimeoutError:
            outcome, why = "timeout", f"not done within {self._timeout_s:g} s"
        except RemoteProtocolError as error:
            outcome, why = "protocol", str(error)
        except OSError as error:  # ssl.SSLError is one
            outcome, why = "network", str(error)
        except HidsError as error:
            outcome, why = "failed", str(error)
            _log.error("joining failed", ip=ip, error=why)
        self.outcomes[outcome] += 1
        _log.debug("joining connection ended", ip=ip, outcome=outcome, why=why)

    async def _converse(self, connection: socket.socket, ip: str, context: ssl.SSLContext, answer: Answer) -> None:
        """Shake hands only now, so that connections which never do are counted and timed too."""
        loop = asyncio.get_running_loop()
        peer = _Peer()
        plain, _ = await loop.connect_accepted_socket(lambda: peer, connection)
        try:
            tls = await loop.start_tls(
                plain,
                peer,
                context,
                server_side=True,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=self._timeout_s,
            )
            if tls is None:
                raise RemoteProtocolError("the peer went away during the handshake")
            tls_object: ssl.SSLObject = tls.get_extra_info("ssl_object")
            if self._enrol is not None and tls_object.selected_alpn_protocol() is None:
                tls.write(await self._enrol(await _payload(peer), ip))
            else:
                question = await _question(peer, tls_object)
                said = await answer(question, ip)
                tls.write(frame(msgspec.msgpack.encode(said), MAX_JOIN_BYTES))
            tls.close()
            await peer.gone.wait()
        finally:
            plain.abort()


class _Peer(asyncio.Protocol):
    """Collects one frame, or one request of the old grammar, and notes when the connection is gone."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_JOIN_BYTES)
        self._request: bytearray | None = None
        self.frame: asyncio.Future[bytes | RemoteProtocolError] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if self.frame.done():
            return  # one question a connection
        if self._request is None and data.startswith(OLD_START):
            self._request = bytearray()
        if self._request is not None:
            self._collect(self._request, data)
            return
        try:
            frames = self._frames.feed(data)
        except RemoteProtocolError as error:
            self.frame.set_result(error)
        else:
            if frames:
                self.frame.set_result(frames[0])

    def _collect(self, request: bytearray, data: bytes) -> None:
        request += data
        if is_whole(request):
            self.frame.set_result(bytes(request))
        elif len(request) > MAX_REQUEST_BYTES:
            self.frame.set_result(RemoteProtocolError(f"an enrolment of more than {MAX_REQUEST_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.frame.done():
            self.frame.set_result(RemoteProtocolError(f"the peer closed before its question was complete ({exc})"))
        self.gone.set()


async def _question(peer: _Peer, tls: ssl.SSLObject) -> ToJoin:
    if tls.selected_alpn_protocol() != ALPN:
        raise RemoteProtocolError(f"expected ALPN {ALPN!r}, got {tls.selected_alpn_protocol()!r}")
    payload = await _payload(peer)
    try:
        return _questions.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"expected a question of the joining protocol: {error}") from error


async def _payload(peer: _Peer) -> bytes:
    payload = await peer.frame
    if isinstance(payload, RemoteProtocolError):
        raise payload
    return payload


def _plain_ip(address: str) -> str:
    """Write an IPv4 peer of a dual-stack socket as people do."""
    return address.removeprefix("::ffff:") if "." in address else address
