"""An agent and a manager of OSSEC's or Wazuh's kind, on real sockets, for tests and for trying things by hand."""

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from hids.core.wire.ossec import files
from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.counters import following
from hids.core.wire.ossec.datagram import open_sealed, seal, split
from hids.core.wire.ossec.keys import ClientKey, encryption_key
from hids.core.wire.ossec.message import Counters, Message

TIMEOUT_S = 10.0
ACK = b"#!-agent ack "
UNAME = "Linux web1 6.1.0 #1 SMP x86_64"


class OldAgent:
    """Speaks as an agent does; counts as it does; believes nothing that it does not decrypt."""

    def __init__(
        self, key: ClientKey, port: int, method: Method = Method.OSSEC_AES, *, tcp: bool = False, source: str = ""
    ) -> None:
        self.key = key
        self.method = method
        self.tcp = tcp
        self.number = Counters(0, 0)
        self._ring = Keyring(encryption_key(key))
        self._heard = Counters(0, 0)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self._sock.settimeout(TIMEOUT_S)
        if source:
            self._sock.bind((source, 0))
        self._sock.connect(("127.0.0.1", port))

    def body(self, payload: bytes, *, named: bool = True) -> bytes:
        """The next message, as it travels."""
        self.number = following(self.number)
        message = Message(payload, self.number, int.from_bytes(os.urandom(2), "big"))
        return seal(message, self._ring, self.method, os.urandom, self.key.id if named else "")

    def send_body(self, body: bytes) -> None:
        """Send what `body` made, or anything else."""
        self._sock.sendall(struct.pack("<I", len(body)) + body if self.tcp else body)

    def send(self, payload: bytes) -> None:
        """Send a message."""
        self.send_body(self.body(payload))

    def receive_body(self) -> bytes:
        """What comes next, encrypted; empty when the connection has ended."""
        if not self.tcp:
            return self._sock.recv(1024 if self.method is not Method.WAZUH_AES else 65_536)
        head = self._exactly(4)
        return self._exactly(struct.unpack("<I", head)[0]) if head else b""

    def receive(self) -> bytes:
        """What comes next. Its number must be above all before it, as OSSEC's agents want it."""
        body = self.receive_body()
        assert body, "the connection has ended"
        message, method = open_sealed(split(body), self._ring)
        assert method is self.method, "agents decrypt one method only"
        assert message.counters > self._heard
        self._heard = message.counters
        return message.payload

    def start(self) -> None:
        """Shake hands."""
        wazuh = self.method is Method.WAZUH_AES
        self.send(b'#!-agent startup {"version":"v4.14.7"}' if wazuh else b"#!-agent startup ")
        assert self.receive() == ACK

    def keep_alive(self, merged: str = "x") -> None:
        """Say who it is, and wait for the acknowledgement."""
        wazuh = self.method is Method.WAZUH_AES
        software = "Wazuh v4.14.7" if wazuh else "OSSEC HIDS v4.2.0"
        system = "Linux |web1 |6.1.0 |#1 SMP |x86_64 [Debian GNU/Linux|debian: 12 (bookworm)]" if wazuh else UNAME
        self.send(f"#!-{system} - {software}\n{merged} merged.mg\n".encode() + (b"" if wazuh else b"\nRaNdOm"))
        assert self.receive() == ACK

    def is_cut_off(self) -> bool:
        """Wait until the manager closes the connection."""
        try:
            return self._sock.recv(65_536) == b""
        except ConnectionResetError:
            return True

    def is_silent(self, probe: Callable[[], None]) -> bool:
        """Whether nothing has come by the time that `probe` has been answered otherwise."""
        probe()
        self._sock.setblocking(False)
        try:
            self._sock.recv(65_536)
        except BlockingIOError:
            return True
        finally:
            self._sock.settimeout(TIMEOUT_S)
        return False

    def close(self) -> None:
        """Go away without a word."""
        self._sock.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._sock.recv(count - len(data))
            if not part:
                return b""
            data += part
        return data


@contextmanager
def old_agent(*args: object, **kwargs: object) -> Iterator[OldAgent]:
    """An agent that is closed in the end."""
    agent = OldAgent(*args, **kwargs)  # type: ignore[arg-type]
    try:
        yield agent
    finally:
        agent.close()


def enrol(port: int, request: bytes, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    """What a manager answers on its enrolment port to a client that verifies nothing, as old ones do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname="manager") as tls,
    ):
        tls.sendall(request)
        answer = b""
        while part := tls.recv(4096):
            answer += part
        return answer


class OldManagerServer:
    """A manager of OSSEC's kind with one agent, on a UDP socket and a thread: acknowledges, pushes, remembers."""

    def __init__(self, key: ClientKey, method: Method = Method.OSSEC_AES) -> None:
        self._ring = Keyring(encryption_key(key))
        self._method = method
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sent = Counters(0, 0)
        self._counting = threading.Lock()
        self._saved = Counters(0, 0)
        self._peer: tuple[str, int] | None = None
        self._heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.silent = False
        """Acknowledge nothing."""
        self.port: int = self._sock.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.sendto(b"", self._sock.getsockname())
        self._thread.join()
        self._sock.close()

    def heard(self, part: bytes) -> bool:
        """Whether a payload with this in it has come."""
        return any(part in payload for payload in tuple(self._heard))

    def forget(self) -> None:
        """Forget what has come."""
        self._heard.clear()

    def push(self, content: bytes) -> None:
        """Push a merged.mg."""
        for payload in files.push(files.MERGED, content):
            self.send(payload)

    def send(self, payload: bytes, again: Counters | None = None) -> Counters:
        """Send a message to where the last control message came from; returns its number, `again` if that is given."""
        assert self._peer is not None
        with self._counting:
            number = again or following(self._sent)
            self._sent = max(self._sent, number)
        self._sock.sendto(seal(Message(payload, number, 7), self._ring, self._method, os.urandom), self._peer)
        return number

    def _serve(self) -> None:
        while True:
            body, peer = self._sock.recvfrom(65_536)
            if not body:
                return
            message, method = open_sealed(split(body), self._ring)
            assert method is self._method
            if message.counters <= self._saved:  # as OSSEC compares them
                continue
            self._saved = message.counters
            self._heard.append(message.payload)
            if message.payload.startswith(b"#!-"):
                self._peer = peer
                if not self.silent:
                    self.send(ACK)
