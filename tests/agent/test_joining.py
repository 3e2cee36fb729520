"""Joining a real manager over real TLS, and joining what is none."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, client_context, fingerprint, make_csr, new_key
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.listening import listen
from hids.adapters.pki import Authority
from hids.adapters.registry import Registry
from hids.agent.joining import Manager, join
from hids.core.wire.frames import frame
from hids.errors import ConfigError, JoinRefused, ManagerUnreachable, RemoteProtocolError, StoreError
from hids.messages.joining import CaAnswer, FromJoin, JoinAnswer, JoinRefusal, ToJoin
from hids.messages.terms import AgentId

T = TypeVar("T")


class Office:
    """A manager's joining side on a thread of its own; what it answers can be bent."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.open_or_create(folder / "ca", SystemClock())
        self.context = self.authority.joining_context()
        self.bend: Callable[[ToJoin, FromJoin], FromJoin] = lambda _, answer: answer
        self._folder = folder
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self._started.wait(10)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self.registry = Registry(self._folder / "agents.db")
        self._desk = JoinDesk(self.authority, self.registry, session_port=4711)
        listener = JoinListener()
        try:
            listening = listen("127.0.0.1", 0, "join")
            port = listening.getsockname()[1]
            listener.start(listening, self.context, self._answer)
            self.address = Manager("127.0.0.1", port)
            self._started.set()
            await self._over.wait()
        finally:
            await listener.stop()
            self.registry.close()

    async def _answer(self, question: ToJoin, ip: str) -> FromJoin:
        return self.bend(question, self._desk.answer(question, ip, SystemClock().now_ms()))

    def do(self, what: Callable[[Registry], T]) -> T:
        """Run `what` on the registry's thread."""

        async def call() -> T:
            return what(self.registry)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def token(self, valid_s: int = 3600, age_s: int = 0) -> str:
        now_ms = SystemClock().now_ms() - age_s * 1000
        return self.do(lambda registry: registry.create_token(now_ms, valid_s))

    def join(
        self,
        folder: Path,
        token: str | None = None,
        name: str = "web-1",
        machine_id: str = "m1",
        pin: str | None = None,
    ) -> Identity:
        return join(
            self.address,
            token=self.token() if token is None else token,
            pin=self.authority.pin if pin is None else pin,
            name=name,
            machine_id=machine_id,
            folder=folder,
        )

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)


@pytest.fixture
def office(tmp_path: Path) -> Generator[Office]:
    office = Office(tmp_path / "manager")
    yield office
    office.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "agent"


def session(authority: Authority, identity: Identity, folder: Path) -> str:
    """Open a session as `identity` against the session port's context; return the fingerprint shown."""
    server, client = socket.socketpair()
    with server, client:
        shown: list[bytes | None] = []

        def serve() -> None:
            with authority.server_context().wrap_socket(server, server_side=True) as tls:
                shown.append(tls.getpeercert(binary_form=True))
                tls.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        with client_context(identity.ca, Identity.file(folder)).wrap_socket(client) as tls:
            assert tls.recv(1) == b"x"
        thread.join(10)
    assert shown[0] is not None
    return fingerprint(shown[0])


def nothing_written(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())


# ---- with a manager


def test_joining_gives_an_identity_that_opens_a_session(office: Office, folder: Path):
    identity = office.join(folder)
    assert Identity.read(folder) == identity
    assert (identity.agent_id, identity.manager, identity.port) == ("001", "127.0.0.1", 4711)
    shown = session(office.authority, identity, folder)
    assert office.do(lambda registry: registry.admit(AgentId("001"), shown)).name == "web-1"


def test_a_removed_agent_is_refused_although_its_certificate_is_good(office: Office, folder: Path):
    identity = office.join(folder)
    office.do(lambda registry: registry.remove("web-1", "alice", 0))
    shown = session(office.authority, identity, folder)
    with pytest.raises(JoinRefused, match=r"agent 001 was removed on .* by alice"):
        office.do(lambda registry: registry.admit(AgentId("001"), shown))


def test_a_wrong_pin_stops_before_the_token_is_sent(office: Office, folder: Path):
    asked: list[ToJoin] = []
    office.bend = lambda question, answer: (asked.append(question), answer)[1]
    with pytest.raises(ConfigError, match="not the one that is pinned"):
        office.join(folder, pin="sha256:" + "0" * 64)
    assert [type(question).__name__ for question in asked] == ["CaRequest"]
    assert nothing_written(folder)


@pytest.mark.slow
def test_tokens_wrong_used_expired(office: Office, folder: Path):
    token = office.token()
    first = office.join(folder, token=token)
    for bad, words in (
        ("wrong", "does not know the token"),
        (token, "the token has been used"),
        (office.token(valid_s=60, age_s=61), "the token expired on"),
    ):
        with pytest.raises(JoinRefused, match=rf"manager 127\.0\.0\.1:\d+ refuses: .*{words}"):
            office.join(folder, token=bad, name="web-2")
    assert Identity.read(folder) == first


def test_a_taken_name_is_refused(office: Office, folder: Path, tmp_path: Path):
    office.join(folder)
    with pytest.raises(JoinRefused, match="web-1 belongs to agent 001"):
        office.join(tmp_path / "other", machine_id="m2")
    assert nothing_written(tmp_path / "other")


def test_the_same_machine_joins_again_and_its_old_certificate_ends(office: Office, folder: Path, tmp_path: Path):
    old = office.join(folder)
    new = office.join(tmp_path / "new")
    assert new.agent_id == old.agent_id
    shown = session(office.authority, old, folder)
    with pytest.raises(JoinRefused, match="has joined anew"):
        office.do(lambda registry: registry.admit(AgentId("001"), shown))


@pytest.mark.parametrize(("token", "name"), [("tök", "web"), ("t", "\udcff"), ("t", "wéb")])
def test_what_is_not_ascii_is_refused_here(office: Office, folder: Path, token: str, name: str):
    with pytest.raises(ConfigError, match="expected plain ASCII"):
        office.join(folder, token=token, name=name)


def test_a_folder_that_cannot_be_written(office: Office, folder: Path):
    folder.touch()
    with pytest.raises(StoreError, match="Not a directory|cannot make this folder"):
        office.join(folder)


# ---- with a manager that lies


def test_someone_in_between_with_the_true_ca_is_not_trusted(tmp_path: Path, folder: Path):
    office = Office(tmp_path / "mallory")
    try:
        true = Authority.open_or_create(tmp_path / "true", SystemClock())
        office.bend = lambda _, __: CaAnswer(pem=true.ca_pem)
        with pytest.raises(ConfigError, match=r"its own certificate is not from it .*in between"):
            office.join(folder, pin=true.pin)
    finally:
        office.close()
    assert nothing_written(folder)


def bent(change: Callable[[JoinAnswer], FromJoin]) -> Callable[[ToJoin, FromJoin], FromJoin]:
    return lambda _, answer: change(answer) if isinstance(answer, JoinAnswer) else answer


def test_a_certificate_for_another_key_is_not_kept(office: Office, folder: Path):
    other = office.authority.sign_agent(make_csr(new_key()), AgentId("001"), "web-1")
    office.bend = bent(lambda answer: msgspec.structs.replace(answer, certificate=other))
    with pytest.raises(RemoteProtocolError, match="for another agent"):
        office.join(folder)
    assert nothing_written(folder)


def test_a_certificate_with_another_id_is_not_kept(office: Office, folder: Path):
    office.bend = bent(lambda answer: msgspec.structs.replace(answer, agent_id="002"))
    with pytest.raises(RemoteProtocolError, match="for another agent"):
        office.join(folder)


@pytest.mark.parametrize("certificate", [b"", b"nonsense", None])
def test_a_certificate_of_another_ca_is_not_kept(
    office: Office, folder: Path, tmp_path: Path, certificate: bytes | None
):
    if certificate is None:
        other = Authority.open_or_create(tmp_path / "other", SystemClock())
        certificate = other.sign_agent(make_csr(new_key()), AgentId("001"), "web-1")
    pem = certificate
    office.bend = bent(lambda answer: msgspec.structs.replace(answer, certificate=pem))
    with pytest.raises(RemoteProtocolError, match="not from its CA"):
        office.join(folder)


def test_answers_to_other_questions_are_refused(office: Office, folder: Path):
    office.bend = lambda _, __: JoinRefusal(reason="no")
    with pytest.raises(RemoteProtocolError, match="a JoinRefusal came when its CA was asked for"):
        office.join(folder)
    office.bend = bent(lambda _: CaAnswer(pem=b""))
    with pytest.raises(RemoteProtocolError, match="a CaAnswer came for an answer"):
        office.join(folder)
    office.bend = lambda _, __: CaAnswer(pem=b"nonsense")
    with pytest.raises(RemoteProtocolError, match="its CA is no certificate"):
        office.join(folder)


# ---- with something else


@contextmanager
def listening(serve: Callable[[socket.socket], None], timeout_s: float = 5.0) -> Generator[Manager]:
    """Serve one connection with `serve`."""

    def run() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            try:
                serve(connection)
            except OSError:
                return  # the client went away, as it should

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        thread = threading.Thread(target=run)
        thread.start()
        yield Manager("127.0.0.1", server.getsockname()[1], timeout_s=timeout_s)
        thread.join(10)


def ask(manager: Manager, folder: Path) -> None:
    join(manager, token="t", pin="sha256:" + "0" * 64, name="web-1", machine_id="m1", folder=folder)


def tls_server(authority: Authority, alpn: str = "hids", data: bytes = b"") -> Callable[[socket.socket], None]:
    context = authority.joining_context()
    context.set_alpn_protocols([alpn])

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(data)
            if not data:
                tls.recv(1)

    return serve


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open_or_create(tmp_path / "ca", SystemClock())


def test_nobody_listens(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        ManagerUnreachable, match=rf"127\.0\.0\.1:{port}: nothing listens there; is hids-manager running"
    ):
        ask(Manager("127.0.0.1", port), folder)


def test_a_name_that_does_not_resolve(folder: Path):
    with pytest.raises(ManagerUnreachable, match=r"no-such-host\.invalid:1515: the name cannot be resolved"):
        ask(Manager("no-such-host.invalid", 1515), folder)


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_an_impossible_port(folder: Path, port: int):
    with pytest.raises(ConfigError, match="expected a port from 1 to 65535"):
        ask(Manager("127.0.0.1", port), folder)


@pytest.mark.parametrize("host", ["x" * 64, "a..b"])
def test_an_impossible_name(folder: Path, host: str):
    with pytest.raises(ManagerUnreachable, match="this cannot be the name of a host"):
        ask(Manager(host, 1515), folder)


def test_an_ipv6_address_is_written_as_people_do():
    assert str(Manager("2001:db8::1", 1515)) == "[2001:db8::1]:1515"


@pytest.mark.parametrize("tls", [True, False], ids=["after the handshake", "before it"])
def test_no_answer_in_time(folder: Path, authority: Authority, *, tls: bool):
    def silent(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    serve = tls_server(authority) if tls else silent
    with (
        listening(serve, timeout_s=0.2) as manager,
        pytest.raises(ManagerUnreachable, match=r"did not answer within 0\.2 s"),
    ):
        ask(manager, folder)


@pytest.mark.slow
def test_a_drip_does_not_stretch_the_time(folder: Path, authority: Authority):
    context = authority.joining_context()
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"\0\0\xff\xff")
            while not done.wait(0.05):
                tls.sendall(b"x")

    with listening(drip, timeout_s=0.3) as manager:
        with pytest.raises(ManagerUnreachable, match="did not answer within"):
            ask(manager, folder)
        done.set()


def test_a_web_server(folder: Path):
    def web(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        listening(web) as manager,
        pytest.raises(RemoteProtocolError, match="does not speak as a hids manager"),
    ):
        ask(manager, folder)


def test_one_that_hangs_up(folder: Path):
    with (
        listening(lambda _: None) as manager,
        pytest.raises(RemoteProtocolError, match="the connection broke"),
    ):
        ask(manager, folder)


def test_tls_without_our_protocol(folder: Path, authority: Authority):
    with (
        listening(tls_server(authority, alpn="h2")) as manager,
        pytest.raises(RemoteProtocolError, match="does not choose the protocol 'hids'"),
    ):
        ask(manager, folder)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff\xff", "expected a frame of at most 65536 bytes"),
        (frame(b"\xc1"), "its answer is not understood"),
        (frame(msgspec.msgpack.encode({"type": "new"})), "its answer is not understood"),
        (frame(b"\x82\xa4type\xa5ca_is\xa1x" + b"\x91" * 60_000 + b"\xc0"), "its answer is not understood"),
        (b"\0\0\0\x09half", "closed the connection without an answer"),
    ],
    ids=["oversized", "no msgpack", "unknown", "nested", "half"],
)
def test_garbage_for_an_answer(folder: Path, authority: Authority, data: bytes, words: str):
    with (
        listening(tls_server(authority, data=data)) as manager,
        pytest.raises(RemoteProtocolError, match=words),
    ):
        ask(manager, folder)
    assert nothing_written(folder)


def test_older_tls(folder: Path, authority: Authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.joining_context()

    def old(connection: socket.socket) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with context.wrap_socket(connection, server_side=True):
            pass

    with listening(old) as manager, pytest.raises(RemoteProtocolError, match="the connection broke"):
        ask(manager, folder)
