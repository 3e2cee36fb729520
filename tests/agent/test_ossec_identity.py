"""Getting a key from an OSSEC manager: over real TLS 1.2, as its authd answers, or by hand."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from ossec_vectors import WEB01

from hids.adapters.identity import key_pem, new_key
from hids.agent.ossec_identity import KEY_FILE, enrol, import_key, read_key
from hids.core.wire.ossec.keys import export
from hids.errors import ConfigError, JoinRefused, ManagerUnreachable, StoreError

GIVEN = f"OSSEC K:'{WEB01}'\n\n".encode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, as OSSEC's users make them."""
    key, now = new_key(), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "manager")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("authd") / "manager.pem"
    path.write_bytes(key_pem(key) + made.public_bytes(Encoding.PEM))
    return path


@contextmanager
def authd(certificate: Path, answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers one request; yields its port and what was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                try:
                    with context.wrap_socket(sock, server_side=True) as tls:
                        asked.append(tls.recv(4096))
                        tls.sendall(answer)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], asked
        thread.join()


def test_a_key_is_asked_for_and_kept(tmp_path: Path, certificate: Path):
    with authd(certificate, GIVEN) as (port, asked):
        key = enrol("127.0.0.1", port, name="web01", password="secret\n", ca=certificate, folder=tmp_path / "state")
    assert asked == [b"OSSEC PASS: secret OSSEC A:'web01'\n"]
    assert key == read_key(tmp_path / "state") == WEB01
    assert (tmp_path / "state" / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_who_is_not_known_is_believed_only_if_a_person_says_so(tmp_path: Path, certificate: Path):
    with authd(certificate, GIVEN) as (port, _):
        enrol("127.0.0.1", port, name="web01", password="", ca=None, folder=tmp_path)
    with (
        authd(certificate, GIVEN) as (port, asked),
        pytest.raises(JoinRefused, match="not the manager"),
    ):
        enrol("localhost", port, name="web01", password="secret", ca=certificate, folder=tmp_path)
    assert asked == [], "no secret goes to a stranger"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"ERROR: Invalid agent name: web01\n\n", "Invalid agent name"),
        (b"", "password"),
        (b"OSSEC K:'1 ../x any k'\n", "name"),
    ],
)
def test_a_refusal_is_told_in_the_managers_words(tmp_path: Path, certificate: Path, answer: bytes, words: str):
    with authd(certificate, answer) as (port, _), pytest.raises(JoinRefused, match=words):
        enrol("127.0.0.1", port, name="web01", password="", ca=None, folder=tmp_path)
    assert read_key(tmp_path) is None


def test_nobody_there_and_no_ca(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ManagerUnreachable):
        enrol("127.0.0.1", port, name="web01", password="", ca=None, folder=tmp_path)
    with pytest.raises(ConfigError):
        enrol("127.0.0.1", port, name="web01", password="", ca=tmp_path / "none", folder=tmp_path)


def test_a_key_by_hand(tmp_path: Path):
    assert import_key(tmp_path, export(WEB01)) == read_key(tmp_path) == WEB01
    with pytest.raises(ConfigError):
        import_key(tmp_path, "nonsense")


def test_a_key_that_others_may_read_or_that_is_none(tmp_path: Path):
    import_key(tmp_path, export(WEB01))
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(StoreError, match="chmod"):
        read_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o600)
    (tmp_path / KEY_FILE).write_text("nonsense\n")
    with pytest.raises(StoreError, match="expected one line"):
        read_key(tmp_path)
