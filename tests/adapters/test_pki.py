"""The CA with real handshakes, over memory BIOs: both ends in one thread."""

import datetime as dt
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.adapters.clock import SystemClock
from hids.adapters.identity import (
    Identity,
    agent_id_of,
    client_context,
    key_pem,
    make_csr,
    new_key,
    unverified_context,
)
from hids.adapters.pki import CA_DAYS, LEAF_DAYS, MAX_CSR_BYTES, Authority
from hids.errors import ConfigError, JoinRefused, StoreError
from hids.messages.terms import AgentId

DAY_MS = 86_400_000


class MovedClock(SystemClock):
    """The machine's clock, so many days on."""

    def __init__(self, days: int = 0) -> None:
        self.days = days

    def now_ms(self) -> int:
        return super().now_ms() + self.days * DAY_MS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open_or_create(tmp_path / "ca", MovedClock())


def agent_file(authority: Authority, folder: Path, agent_id: str = "007") -> Path:
    key = new_key()
    certificate = authority.sign_agent(make_csr(key), AgentId(agent_id), "web-1")
    Identity(manager="m", port=1514, key=key_pem(key), certificate=certificate, ca=authority.ca_pem).write(folder)
    return Identity.file(folder)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory; the first error of either end is raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, two]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return one, two


def server_certificate(authority: Authority, folder: Path, *names: str) -> x509.Certificate:
    authority.joining_context(names)
    return x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())


# ---- the CA


def test_the_ca_is_made_once_and_private(tmp_path: Path):
    old = os.umask(0)
    try:
        first = Authority.open_or_create(tmp_path / "ca", MovedClock())
        first.server_context()
    finally:
        os.umask(old)
    second = Authority.open_or_create(tmp_path / "ca", MovedClock())
    assert second.pin == first.pin
    assert second.ca_pem == first.ca_pem
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "ca").iterdir()} == {
        "ca.pem": 0o600,
        "server.pem": 0o600,
    }


def test_a_crash_while_the_ca_is_written_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class PowerCut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(PowerCut):
            Authority.open_or_create(tmp_path, MovedClock())
    assert not (tmp_path / "ca.pem").exists()
    assert Authority.open_or_create(tmp_path, MovedClock()).pin.startswith("sha256:")


def test_a_damaged_ca_is_never_replaced(tmp_path: Path):
    Authority.open_or_create(tmp_path, MovedClock())
    path = tmp_path / "ca.pem"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"ca\.pem: expected a key and its certificate .*backup"):
        Authority.open_or_create(tmp_path, MovedClock())
    assert len(path.read_bytes()) == 200


def test_a_ca_with_the_key_of_another_is_refused(tmp_path: Path):
    Authority.open_or_create(tmp_path, MovedClock())
    path = tmp_path / "ca.pem"
    certificate = path.read_bytes().partition(b"-----BEGIN CERT")
    path.write_bytes(key_pem(new_key()) + certificate[1] + certificate[2])
    with pytest.raises(StoreError, match="the key is not the certificate's"):
        Authority.open_or_create(tmp_path, MovedClock())


def test_a_ca_that_others_can_read_is_refused(tmp_path: Path):
    Authority.open_or_create(tmp_path, MovedClock())
    (tmp_path / "ca.pem").chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        Authority.open_or_create(tmp_path, MovedClock())


def test_the_ca_lives_ten_years_and_then_says_so(tmp_path: Path):
    Authority.open_or_create(tmp_path, MovedClock())
    assert Authority.open_or_create(tmp_path, MovedClock(days=CA_DAYS - 1))
    with pytest.raises(StoreError, match=r"this CA ended on .* is the clock right"):
        Authority.open_or_create(tmp_path, MovedClock(days=CA_DAYS + 1))


# ---- the server's certificate


def test_the_server_has_its_names(tmp_path: Path, authority: Authority):
    certificate = server_certificate(authority, tmp_path / "ca", "hids.example.org", "192.0.2.7", "2001:db8::7")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    assert {"hids.example.org", "localhost"} <= set(hosts)
    assert addresses == {"192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["", "*.example.org", "a b", "höst", "-x", "x" * 254])
def test_a_name_that_is_none_is_refused(authority: Authority, name: str):
    with pytest.raises(ConfigError, match="expected a host name or an address"):
        authority.server_context([name])


def test_the_server_certificate_is_kept_until_it_needs_to_change(tmp_path: Path):
    folder = tmp_path / "ca"
    clock = MovedClock()
    authority = Authority.open_or_create(folder, clock)
    first = server_certificate(authority, folder)
    clock.days = LEAF_DAYS - 31
    assert server_certificate(authority, folder) == first
    clock.days = LEAF_DAYS - 29
    second = server_certificate(authority, folder)
    assert second != first
    assert second.not_valid_after_utc - first.not_valid_after_utc > dt.timedelta(days=LEAF_DAYS - 30)
    assert server_certificate(authority, folder, "new.example.org") != second


def test_a_server_certificate_of_another_ca_is_replaced(tmp_path: Path, authority: Authority):
    other = Authority.open_or_create(tmp_path / "other", MovedClock())
    other.joining_context()
    (tmp_path / "other" / "server.pem").rename(tmp_path / "ca" / "server.pem")
    handshake(client_context(authority.ca_pem), authority.joining_context())


@pytest.mark.parametrize(("text", "mode"), [("damaged", 0o600), (None, 0o644)], ids=["damaged", "readable"])
def test_a_spoilt_server_certificate_is_replaced(tmp_path: Path, authority: Authority, text: str | None, mode: int):
    before = server_certificate(authority, tmp_path / "ca")
    path = tmp_path / "ca" / "server.pem"
    if text is not None:
        path.write_text(text)
    path.chmod(mode)
    assert server_certificate(authority, tmp_path / "ca") != before
    assert path.stat().st_mode & 0o777 == 0o600


# ---- who gets through


def test_agent_and_manager_know_each_other(tmp_path: Path, authority: Authority):
    client = client_context(authority.ca_pem, agent_file(authority, tmp_path))
    one, two = handshake(client, authority.server_context())
    shown = two.getpeercert(binary_form=True)
    assert shown is not None
    assert agent_id_of(shown) == "007"
    assert one.version() == two.version() == "TLSv1.3"
    assert one.selected_alpn_protocol() == two.selected_alpn_protocol() == "hids"


def test_no_certificate_no_session(authority: Authority):
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(client_context(authority.ca_pem), authority.server_context())


def test_a_certificate_of_another_ca_gets_no_session(tmp_path: Path, authority: Authority):
    other = Authority.open_or_create(tmp_path / "other", MovedClock())
    stranger = client_context(authority.ca_pem, agent_file(other, tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate in"):
        handshake(stranger, authority.server_context())


def test_an_expired_certificate_gets_no_session(tmp_path: Path):
    clock = MovedClock(days=-LEAF_DAYS - 1)
    authority = Authority.open_or_create(tmp_path / "ca", clock)
    late = client_context(authority.ca_pem, agent_file(authority, tmp_path))
    clock.days = 0
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(late, authority.server_context())


def test_another_manager_is_not_trusted(tmp_path: Path, authority: Authority):
    other = Authority.open_or_create(tmp_path / "other", MovedClock())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(authority.ca_pem), other.joining_context())
    handshake(unverified_context(), other.joining_context())


def test_an_agent_cannot_pose_as_the_manager(tmp_path: Path, authority: Authority):
    rogue = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    rogue.load_cert_chain(agent_file(authority, tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client_context(authority.ca_pem), rogue)


def test_the_managers_certificate_opens_no_session(tmp_path: Path, authority: Authority):
    server = authority.server_context()
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client_context(authority.ca_pem, tmp_path / "ca" / "server.pem"), server)


def test_an_agent_cannot_sign_agents(tmp_path: Path, authority: Authority):
    file = agent_file(authority, tmp_path)
    data = file.read_bytes()
    signer = x509.load_pem_x509_certificate(data)
    signer_key = serialization.load_pem_private_key(data, None)
    assert isinstance(signer_key, ec.EllipticCurvePrivateKey)
    key = new_key()
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "001")]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(signer.not_valid_before_utc)
        .not_valid_after(signer.not_valid_after_utc)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:hids:agent:001")]),
            critical=False,
        )
        .sign(signer_key, hashes.SHA256())
    )
    chain = forged.public_bytes(serialization.Encoding.PEM) + signer.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "forged.pem").write_bytes(key_pem(key) + chain)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(authority.ca_pem, tmp_path / "forged.pem"), authority.server_context())


def test_older_tls_is_refused(tmp_path: Path, authority: Authority):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.load_verify_locations(cadata=authority.ca_pem.decode())
    old.load_cert_chain(agent_file(authority, tmp_path))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(old, authority.server_context())


# ---- requests


def test_the_authority_chooses_all_but_the_key(authority: Authority):
    key = new_key()
    certificates = [
        x509.load_pem_x509_certificate(authority.sign_agent(make_csr(key), AgentId("012"), "db.1")) for _ in range(2)
    ]
    one, two = certificates
    assert one.public_key() == key.public_key()
    assert one.serial_number != two.serial_number
    assert one.subject.rfc4514_string() == "OU=db.1,CN=012"
    assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def csr_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p384", "k1", "ed25519", "rsa"],
)
def test_other_keys_are_refused(authority: Authority, key: ec.EllipticCurvePrivateKey):
    with pytest.raises(JoinRefused, match="must be EC on P-256"):
        authority.sign_agent(csr_of(key), AgentId("001"), "x")


def test_a_request_with_a_wrong_signature_is_refused(authority: Authority):
    request = x509.load_pem_x509_csr(make_csr(new_key()))
    other = (
        new_key().public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    mine = request.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = request.public_bytes(serialization.Encoding.DER).replace(mine, other)
    pem = ssl.DER_cert_to_PEM_cert(forged).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(JoinRefused, match="not signed by its own key"):
        authority.sign_agent(pem, AgentId("001"), "x")


def test_a_huge_request_is_refused_unread(authority: Authority):
    with pytest.raises(JoinRefused, match="at most"):
        authority.sign_agent(b"x" * (MAX_CSR_BYTES + 1), AgentId("001"), "x")


VALID_CSR = make_csr(new_key())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(at=st.integers(0, len(VALID_CSR) - 1), byte=st.integers(0, 255))
def test_a_damaged_request_is_refused_or_read_never_worse(authority: Authority, at: int, byte: int):
    damaged = VALID_CSR[:at] + bytes([byte]) + VALID_CSR[at + 1 :]
    try:
        authority.sign_agent(damaged, AgentId("001"), "x")
    except JoinRefused:
        return
    # Only what PEM ignores, or what leaves the bytes as they are, may pass.
    assert x509.load_pem_x509_csr(damaged).public_key() == x509.load_pem_x509_csr(VALID_CSR).public_key()


@pytest.mark.parametrize("days", [400, 4000])
def test_what_was_signed_while_the_clock_was_ahead_is_good_when_it_is_right(tmp_path: Path, days: int):
    clock = MovedClock()
    authority = Authority.open_or_create(tmp_path / "ca", clock)
    clock.days = days
    server, agent = authority.server_context(), agent_file(authority, tmp_path)
    handshake(client_context(authority.ca_pem, agent), server)


def test_a_ca_that_was_made_while_the_clock_was_ahead_is_good_when_it_is_right(tmp_path: Path):
    clock = MovedClock(400)
    authority = Authority.open_or_create(tmp_path / "ca", clock)
    clock.days = 0
    handshake(client_context(authority.ca_pem, agent_file(authority, tmp_path)), authority.server_context())


def test_a_clock_at_its_beginning_makes_certificates_that_are_replaced(tmp_path: Path):
    clock = MovedClock(-20_000)
    authority = Authority.open_or_create(tmp_path / "ca", clock)
    authority.server_context()
    agent_file(authority, tmp_path)
    clock.days = 0
    authority = Authority.open_or_create(tmp_path / "ca", clock)
    handshake(client_context(authority.ca_pem, agent_file(authority, tmp_path)), authority.server_context())
