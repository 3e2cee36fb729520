"""The manager's own certificate authority, and its side of TLS.

    <folder>/ca.pem      key and certificate of the CA; made once, good for ten years. Who has a copy
                         can speak for any agent: keep it in backups, and the backups safe.
    <folder>/server.pem  key and certificate of the manager; made anew when names change or its time runs out.
    <folder>/responses.pem      Ed25519 key that signs response orders, and its certificate; made anew likewise.
    <folder>/configuration.pem  the same for what agents are configured with.

Each pair is one file with mode 0600, so a crash leaves both halves or none.
"""

import datetime as dt
import hashlib
import ipaddress
import re
import secrets
import socket
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.adapters.identity import AGENT_URI, ALPN, MALFORMED, key_pem, load_key, new_key, pin_of
from hids.adapters.order_signing import RESPONSES_URI
from hids.adapters.signing import CONFIGURATION_URI
from hids.errors import ConfigError, JoinRefused, StoreError
from hids.messages.terms import AgentId
from hids.ports import Clock

CA_DAYS = 3650
LEAF_DAYS = 825
"""Longest life that common TLS stacks take for a server's certificate (Apple's limit for private CAs)."""
RENEW_DAYS = 30
"""A server certificate with fewer days left is made anew."""
MAX_CSR_BYTES = 16 * 1024

_SINCE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""Certificates are valid from then on: so none is "not valid yet" for an agent whose clock is behind, or because ours was ahead
when it was made."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


class _Pair(msgspec.Struct, frozen=True):
    """A private key and the certificate of its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return key_pem(self.key) + _pem(self.certificate)


class Authority:
    """Says who is an agent and who is the manager."""

    def __init__(self, folder: Path, clock: Clock, ca: _Pair) -> None:
        self._folder = folder
        self._clock = clock
        self._ca = ca

    @classmethod
    def open_or_create(cls, folder: Path, clock: Clock) -> Self:
        """Load the CA in `folder`, or make one at the first start.

        Raises:
            StoreError: the CA's file is damaged, expired, open to others or cannot be written.
        """
        private_folder(folder)
        path = folder / "ca.pem"
        ca = _read_pair(path)
        now = _utc(clock)
        if ca is None:
            ca = _new_ca(now)
            write_atomically(path, ca.pem)
        if ca.certificate.not_valid_after_utc <= now:
            raise StoreError(
                f"{path}: this CA ended on {ca.certificate.not_valid_after_utc:%Y-%m-%d}; is the clock "
                "right? If so, move the file away, start again and let all agents join anew"
            )
        return cls(folder, clock, ca)

    @property
    def ca_pem(self) -> bytes:
        """The CA's certificate."""
        return _pem(self._ca.certificate)

    @property
    def pin(self) -> str:
        """What an agent compares the CA with: "sha256:" and 64 hex digits."""
        return pin_of(self._ca.certificate)

    def sign_agent(self, csr_pem: bytes, agent_id: AgentId, name: str) -> bytes:
        """Make an agent's certificate, PEM. Only the public key is taken from the CSR.

        Raises:
            JoinRefused: the CSR is malformed, its signature wrong or its key not EC on P-256.
        """
        public_key = _public_key_of(csr_pem)
        subject = _name(agent_id, organizational_unit=name)
        names = [x509.UniformResourceIdentifier(AGENT_URI + agent_id)]
        return _pem(self._sign(public_key, subject, names, ExtendedKeyUsageOID.CLIENT_AUTH))

    def key_of(self, csr_pem: bytes) -> str:
        """SHA-256 of a request's public key, in hex: tells who asks, as its signature proves the key.

        Raises:
            JoinRefused: as `sign_agent`.
        """
        der = _public_key_of(csr_pem).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()

    def server_context(self, names: Sequence[str] = ()) -> ssl.SSLContext:
        """TLS for the session port: only agents with a certificate of this CA get through the handshake.

        Args:
            names: host names and addresses of this manager, besides its own host name and localhost.

        Raises:
            ConfigError: one of `names` is neither a host name nor an address.
            StoreError: the server's certificate cannot be stored.
        """
        context = self.joining_context(names)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.ca_pem.decode("ascii"))
        return context

    def joining_context(self, names: Sequence[str] = (), *, old_agents: bool = False) -> ssl.SSLContext:
        """TLS for the joining port, where nobody has a certificate yet; for the rest see `server_context`.

        With `old_agents` TLS 1.2 will do: OSSEC's agents speak no other. Renegotiation is off either way.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2 if old_agents else ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0  # no resumption: each session shows its certificate
        context.set_alpn_protocols([ALPN])
        context.load_cert_chain(self._server_file(names))
        return context

    def _server_file(self, names: Sequence[str]) -> Path:
        """The file with the server's key and certificate, made or renewed as needed."""
        path = self._folder / "server.pem"
        wanted = _alternative_names(names)
        try:
            pair = _read_pair(path)
        except StoreError:  # damaged, or seen by others: unlike the CA's, this key is easily replaced
            pair = None
        if pair is None or not self._is_good(pair.certificate, wanted):
            key = new_key()
            certificate = self._sign(key.public_key(), _name("hids manager"), wanted, ExtendedKeyUsageOID.SERVER_AUTH)
            write_atomically(path, _Pair(key, certificate).pem)
        return path

    def responses_file(self) -> Path:
        """The file with the key that signs response orders, made or renewed as needed."""
        return self._signing_file("responses", RESPONSES_URI)

    def configuration_file(self) -> Path:
        """The file with the key that signs agents' configuration, made or renewed as needed."""
        return self._signing_file("configuration", CONFIGURATION_URI)

    def _signing_file(self, what: str, uri: str) -> Path:
        path = self._folder / f"{what}.pem"
        try:
            data = read_private(path)
            certificate = None if data is None else x509.load_pem_x509_certificate(data)
        except (StoreError, *MALFORMED):
            certificate = None
        wanted = [x509.UniformResourceIdentifier(uri)]
        if certificate is None or not self._is_good(certificate, wanted):
            key = Ed25519PrivateKey.generate()
            signed = self._sign(key.public_key(), _name(f"hids {what}"), wanted, ExtendedKeyUsageOID.CODE_SIGNING)
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_atomically(path, pem + _pem(signed))
        return path

    def _is_good(self, server: x509.Certificate, wanted: Sequence[x509.GeneralName]) -> bool:
        """Tell whether a server's certificate is of this CA, has the wanted names and time left."""
        left = server.not_valid_after_utc - _utc(self._clock)
        try:
            server.verify_directly_issued_by(self._ca.certificate)
            names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except MALFORMED:
            return False
        return left >= dt.timedelta(days=RENEW_DAYS) and set(names) == set(wanted)

    def _sign(
        self,
        public_key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
        subject: x509.Name,
        names: Iterable[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
    ) -> x509.Certificate:
        end = min(_utc(self._clock) + dt.timedelta(days=LEAF_DAYS), self._ca.certificate.not_valid_after_utc)
        ca_key = self._ca.key.public_key()
        return (
            _builder(subject, self._ca.certificate.subject, public_key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key), critical=False)
            .sign(self._ca.key, hashes.SHA256())
        )


def _new_ca(now: dt.datetime) -> _Pair:
    key = new_key()
    # A number in the name keeps the CAs of two managers apart where people look at certificates.
    name = _name(f"hids CA {secrets.token_hex(4)}")
    certificate = (
        _builder(name, name, key.public_key(), now + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Pair(key, certificate)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _public_key_of(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    if len(csr_pem) > MAX_CSR_BYTES:
        raise JoinRefused(f"the certificate request has {len(csr_pem)} bytes; at most {MAX_CSR_BYTES} are taken")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise JoinRefused("the certificate request's key must be EC on P-256; use the hids-agent of this release")
        if not request.is_signature_valid:
            raise JoinRefused("the certificate request is not signed by its own key")
    except MALFORMED as error:
        raise JoinRefused("the certificate request cannot be read; use the hids-agent of this release") from error
    return key


def _read_pair(path: Path) -> _Pair | None:
    data = read_private(path)
    if data is None:
        return None
    try:
        pair = _Pair(load_key(data), x509.load_pem_x509_certificate(data))
    except MALFORMED as error:
        raise StoreError(f"{path}: expected a key and its certificate ({error}); restore it from a backup") from error
    if pair.key.public_key() != pair.certificate.public_key():
        raise StoreError(f"{path}: the key is not the certificate's; restore the file from a backup")
    return pair


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Names of the manager in its certificate, without doubles, in a fixed order."""
    own = [name for name in (socket.gethostname(),) if _HOST_NAME.fullmatch(name)]
    return [_general_name(name) for name in sorted({*names, *own, "localhost", "127.0.0.1", "::1"})]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _HOST_NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r}: expected a host name or an address of this manager for its certificate"
            ) from None
        return x509.DNSName(name)


def _name(common_name: str, organizational_unit: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organizational_unit:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit))
    return x509.Name(attributes)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _utc(clock: Clock) -> dt.datetime:
    return max(_SINCE, dt.datetime.fromtimestamp(clock.now_ms() // 1000, dt.UTC))  # a clock may be at its beginning
