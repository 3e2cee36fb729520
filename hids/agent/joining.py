"""Joining a manager: a token and a pin go in, an identity comes out.

1. connect to whoever answers, ask for its CA, compare that with the pin      nothing secret is sent
2. connect again, verified by that CA; send token and certificate request     the key never leaves this host
3. check the answer and write the identity                                    one rename: all or nothing
"""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.adapters.identity import (
    ALPN,
    MALFORMED,
    Identity,
    agent_id_of,
    check_pin,
    client_context,
    key_pem,
    load_key,
    make_csr,
    new_key,
    unverified_context,
)
from hids.core.wire.frames import FrameReader, frame
from hids.errors import ConfigError, JoinRefused, ManagerUnreachable, RemoteProtocolError, StoreError
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

TIMEOUT_S = 15.0
"""For each of the two connections, from the first packet to the answer; the manager gives up after 10 s."""

MAX_PORT = 65_535
MAX_PENDING_S = 60
KEY_FILE = "joining.pem"
"""The key of a request that was not answered with a certificate yet."""

_answers: msgspec.msgpack.Decoder[FromJoin] = msgspec.msgpack.Decoder(FromJoin)


class Manager(msgspec.Struct, frozen=True):
    """Where to join."""

    host: str
    port: int
    timeout_s: float = TIMEOUT_S

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def join(
    manager: Manager,
    *,
    token: str,
    pin: str,
    name: str,
    machine_id: str,
    folder: Path,
    software: str = "",
    os: str = "",
    as_new: bool = False,
    waits: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Identity:
    """Join `manager` under `name` and write the identity into `folder`; on any error, the old one stays.

    The key that is here already, from an earlier joining or a request that waits for approval, is used again: it tells the
    manager that this is the same machine. `as_new` makes another one: for the copy of a machine. While a person has to
    approve the request, `waits` is told once, and it is asked again until there is an answer.

    Raises:
        ConfigError: address, pin, token or name are malformed, or the manager is not the one that is pinned.
        JoinRefused: the manager said no; its words.
        ManagerUnreachable: nobody answers there in time.
        RemoteProtocolError: something else than a hids manager answers there.
        StoreError: the identity cannot be written.
    """
    for what, text in (("token", token), ("name", name)):
        if not text.isascii():
            raise ConfigError(f"the {what} {text!r} cannot be used: expected plain ASCII; was it copied whole?")
    ca = _pinned_ca(manager, pin)
    key = _own_key(folder, as_new=as_new)
    request = JoinRequest(
        token=token.strip(),
        name=name,
        csr=make_csr(key),
        machine_id=machine_id,
        software=software,
        os=os,
    )
    try:
        answer = _answer(manager, client_context(ca), request, waits, sleep)
        certificate = _checked_certificate(manager, answer, key, ca)
    except KeyboardInterrupt:
        raise  # the request may wait already: whoever joins again goes on with its key
    except BaseException:
        _forget_key(folder)
        raise
    identity = Identity(
        manager=manager.host,
        port=answer.session_port,
        key=key_pem(key),
        certificate=certificate,
        ca=ca,
    )
    identity.write(folder)
    _forget_key(folder)
    return identity


def _answer(
    manager: Manager,
    context: ssl.SSLContext,
    request: JoinRequest,
    waits: Callable[[str], None],
    sleep: Callable[[float], None],
) -> JoinAnswer:
    """Ask until there is an answer."""
    answer = _ask(manager, context, request)
    if isinstance(answer, JoinPending):
        waits(answer.reason)
    while isinstance(answer, JoinPending):
        sleep(min(max(answer.retry_s, 1), MAX_PENDING_S))
        try:
            answer = _ask(manager, context, request)
        except (ManagerUnreachable, RemoteProtocolError) as error:
            waits(f"{error}; trying on")
    if isinstance(answer, JoinRefusal):
        raise JoinRefused(f"manager {manager} refuses: {answer.reason}")
    if not isinstance(answer, JoinAnswer):
        raise _not_a_manager(manager, f"a {type(answer).__name__} came for an answer")
    return answer


def _own_key(folder: Path, *, as_new: bool) -> EllipticCurvePrivateKey:
    """The key that this agent has or waits with, or a new one, which is on disk before the manager knows of it."""
    path = folder / KEY_FILE
    known = Identity.read(folder) if not as_new else None
    kept = known.key if known is not None else read_private(path)
    if kept is not None:
        try:
            return load_key(kept)
        except ValueError as error:
            raise StoreError(f"{path}: {error}; remove the file and join again") from error
    key = new_key()
    private_folder(folder)
    write_atomically(path, key_pem(key))
    return key


def _forget_key(folder: Path) -> None:
    (folder / KEY_FILE).unlink(missing_ok=True)


def _pinned_ca(manager: Manager, pin: str) -> bytes:
    """Fetch the CA's certificate (PEM) from a manager that nothing is known of but the pin."""
    answer = _ask(manager, unverified_context(), CaRequest())
    if not isinstance(answer, CaAnswer):
        raise _not_a_manager(manager, f"a {type(answer).__name__} came when its CA was asked for")
    try:
        ca = x509.load_pem_x509_certificate(answer.pem)
    except MALFORMED as error:
        raise _not_a_manager(manager, "its CA is no certificate") from error
    check_pin(pin, ca)
    return ca.public_bytes(serialization.Encoding.PEM)


def _checked_certificate(manager: Manager, answer: JoinAnswer, key: EllipticCurvePrivateKey, ca: bytes) -> bytes:
    """See that the certificate (PEM) is for our key, from the pinned CA, with the id that was named."""
    try:
        certificate = x509.load_pem_x509_certificate(answer.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    except MALFORMED as error:
        raise _not_a_manager(manager, f"its certificate for us is not from its CA ({error})") from error
    agent_id = agent_id_of(certificate.public_bytes(serialization.Encoding.DER))
    if certificate.public_key() != key.public_key() or agent_id != answer.agent_id:
        raise _not_a_manager(manager, "the certificate that it sent is for another agent")
    return certificate.public_bytes(serialization.Encoding.PEM)


def _ask(manager: Manager, context: ssl.SSLContext, question: ToJoin) -> FromJoin:
    """Connect, ask, and read one answer within the manager's timeout."""
    deadline = time.monotonic() + manager.timeout_s
    with _connect(manager) as plain:
        try:
            plain.settimeout(_left(deadline))
            with context.wrap_socket(plain) as tls:
                if tls.selected_alpn_protocol() != ALPN:
                    raise _not_a_manager(manager, f"it does not choose the protocol {ALPN!r}")
                tls.sendall(frame(msgspec.msgpack.encode(question), MAX_JOIN_BYTES))
                return _answers.decode(_receive(manager, tls, deadline))
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"{manager} showed the pinned CA, but its own certificate is not from it "
                f"({error.verify_message}): someone may sit in between, or a clock is wrong"
            ) from error
        except TimeoutError as error:
            raise ManagerUnreachable(
                f"{manager} accepted the connection but did not answer within {manager.timeout_s:g} s; "
                "is it overloaded, or is this another service's port?"
            ) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise _not_a_manager(manager, f"its answer is not understood ({error})") from error
        except OSError as error:  # ssl.SSLError is one
            raise _not_a_manager(manager, f"the connection broke ({error})") from error


def _connect(manager: Manager) -> socket.socket:
    if not 0 < manager.port <= MAX_PORT:
        raise ConfigError(f"manager {manager}: expected a port from 1 to {MAX_PORT}; joining is on 1515 by default")
    try:
        return socket.create_connection((manager.host, manager.port), timeout=manager.timeout_s)
    except socket.gaierror as error:
        why = f"the name cannot be resolved ({error.strerror}); check its spelling and DNS"
    except ConnectionRefusedError:
        why = "nothing listens there; is hids-manager running, and is this its joining port (1515)?"
    except UnicodeError:
        why = "this cannot be the name of a host; check its spelling"
    except TimeoutError:
        why = f"no reply within {manager.timeout_s:g} s; is the address right, and is a firewall in the way?"
    except OSError as error:
        why = f"{error.strerror or error}; check the address and the network"
    raise ManagerUnreachable(f"cannot reach manager {manager}: {why}")


def _receive(manager: Manager, tls: ssl.SSLSocket, deadline: float) -> bytes:
    """Read one frame."""
    frames = FrameReader(MAX_JOIN_BYTES)
    while True:
        tls.settimeout(_left(deadline))
        data = tls.recv(4096)
        if not data:
            raise _not_a_manager(manager, "it closed the connection without an answer; its log may say why")
        for payload in frames.feed(data):
            return payload


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _not_a_manager(manager: Manager, why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{manager} does not speak as a hids manager's joining port (1515) should: {why}")
