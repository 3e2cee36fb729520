"""What both ends know about keys and certificates, and the agent's own identity.

Keys: EC on P-256; every OpenSSL, and every TPM that may hold them later, knows it.

Who is who: the CA signs `serverAuth` for the manager only and `clientAuth` for agents only. OpenSSL checks
this at both ends, so no agent can pose as the manager, and host names need no check. An agent's id is the URI
`urn:hids:agent:<id>` in its certificate, and nothing that it says.

On the agent one file, identity.pem, holds the manager's address, key, certificate and CA. Joining again
replaces it by a rename.
"""

import hashlib
import hmac
import re
import ssl
from pathlib import Path
from typing import Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.errors import ConfigError, RemoteProtocolError, StoreError
from hids.messages.terms import AgentId

ALPN = "hids"
"""The native protocol's name in the TLS handshake, on both ports."""

AGENT_URI = "urn:hids:agent:"

MALFORMED = (
    ValueError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
    InvalidSignature,
    UnsupportedAlgorithm,
)
"""What `cryptography` raises for certificates and requests that are damaged or not ours."""

_AGENT_ID = re.compile(r"[0-9]{3,12}")
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTITY_FILE = "identity.pem"
_MANAGER_LINE = re.compile(rb"^Manager: (\S+) ([0-9]{1,5})$", re.MULTILINE)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key of the one kind we use."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8 without a password: a daemon has nobody to ask; the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Ask for a certificate for `key`; PEM. The manager takes the public key from it and chooses all else."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hids agent")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def fingerprint(der: bytes) -> str:
    """SHA-256 over a certificate's DER, in hex."""
    return hashlib.sha256(der).hexdigest()


def der_of(pem: bytes) -> bytes:
    """Turn a certificate from PEM, as it is stored and sent, into DER, as TLS shows it.

    Raises:
        ValueError: it is none.
    """
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def pin_of(ca: x509.Certificate) -> str:
    """Name a CA by its certificate: "sha256:" and 64 hex digits."""
    return "sha256:" + fingerprint(ca.public_bytes(serialization.Encoding.DER))


def check_pin(pin: str, ca: x509.Certificate) -> None:
    """Compare the CA that a manager showed with the pin that a person brought.

    Raises:
        ConfigError: the pin is malformed or belongs to another CA.
    """
    wanted = pin.strip().lower()
    if not _PIN.fullmatch(wanted):
        raise ConfigError(f"CA pin {pin!r}: expected sha256: and 64 hex digits; copy it from `hidsctl agent token`")
    shown = pin_of(ca)
    if not hmac.compare_digest(wanted, shown):
        raise ConfigError(
            "the manager's CA is not the one that is pinned: this is another manager, or someone in "
            f"between; nothing was sent to it. Pinned {wanted}, shown {shown}"
        )


def agent_id_of(der: bytes) -> AgentId:
    """Read the agent's id from its certificate, as `getpeercert(binary_form=True)` gives it.

    Raises:
        RemoteProtocolError: this is not a certificate of an agent.
    """
    try:
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    except MALFORMED as error:
        raise RemoteProtocolError(f"expected an agent's certificate, got none: {error}") from error
    ids = [uri.removeprefix(AGENT_URI) for uri in uris if uri.startswith(AGENT_URI)]
    if len(ids) != 1 or not _AGENT_ID.fullmatch(ids[0]):
        raise RemoteProtocolError(f"expected one {AGENT_URI}<id> in the certificate, got {uris!r}")
    return AgentId(ids[0])


def client_context(ca_pem: bytes, identity_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.3 towards the manager that `ca_pem` vouches for.

    Args:
        ca_pem: the pinned CA; nothing else is trusted.
        identity_file: key and certificate to show; none while joining.
    """
    context = _hids_context()
    context.check_hostname = False  # the CA serves one manager; see the head
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    if identity_file is not None:
        context.load_cert_chain(identity_file)
    return context


def unverified_context() -> ssl.SSLContext:
    """TLS to whoever answers: only to be shown a CA, which is then compared with the pin."""
    context = _hids_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _hids_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


class Identity(msgspec.Struct, frozen=True):
    """Who this agent is and whom it reports to; what joining leaves behind."""

    manager: str
    """Host name or address."""
    port: int
    """The manager's session port."""
    key: bytes
    """PEM, as are the next two."""
    certificate: bytes
    ca: bytes

    @property
    def agent_id(self) -> AgentId:
        """The id in the certificate."""
        return agent_id_of(der_of(self.certificate))

    @property
    def ends_ms(self) -> int:
        """When the certificate ends, in ms since 1970."""
        return int(x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc.timestamp() * 1000)

    def check(self, agent_id: AgentId) -> None:
        """See that the certificate is for this key, from this CA, with that id.

        Raises:
            RemoteProtocolError: it is not.
        """
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate)
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(self.ca))
        except MALFORMED as error:
            raise RemoteProtocolError(f"the certificate is not from the manager's CA ({error})") from error
        if certificate.public_key() != load_key(self.key).public_key() or self.agent_id != agent_id:
            raise RemoteProtocolError("the certificate is for another agent")

    @staticmethod
    def file(folder: Path) -> Path:
        """Where an agent with this state folder keeps its identity."""
        return folder / _IDENTITY_FILE

    def write(self, folder: Path) -> None:
        """Replace the identity in `folder` at once.

        Raises:
            StoreError: it cannot be written; the old one, if any, still holds.
        """
        private_folder(folder)
        # RFC 7468 section 2: parsers ignore text outside of the blocks.
        head = f"Identity of hids agent {self.agent_id}, written by `hids-agent join`.\n"
        manager = f"Manager: {self.manager} {self.port}\n"
        write_atomically(
            self.file(folder), (head + manager).encode() + self.key + self.certificate + self.ca, mode=0o600
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Load the identity in `folder`; None when this agent has not joined yet.

        Raises:
            StoreError: the file is damaged, or other users may read it.
        """
        path = cls.file(folder)
        data = read_private(path)
        if data is None:
            return None
        try:
            manager = _MANAGER_LINE.search(data)
            certificate, ca = x509.load_pem_x509_certificates(data)
            key = load_key(data)
            if manager is None or key.public_key() != certificate.public_key():
                raise ValueError("no manager, or the key is not the certificate's")
        except MALFORMED as error:
            raise StoreError(
                f"{path}: expected a manager, a key and two certificates ({error}); join the manager again"
            ) from error
        return cls(
            manager=manager[1].decode(),
            port=int(manager[2]),
            key=key_pem(key),
            certificate=certificate.public_bytes(serialization.Encoding.PEM),
            ca=ca.public_bytes(serialization.Encoding.PEM),
        )


def sign(key: bytes, text: bytes) -> bytes:
    """Sign with a private key (PEM): ECDSA with SHA-256.

    Raises:
        StoreError: it is no key of ours.
    """
    try:
        return load_key(key).sign(text, ec.ECDSA(hashes.SHA256()))
    except MALFORMED as error:
        raise StoreError(f"expected an EC key: {error}") from error


def is_signed(certificate: bytes, text: bytes, signature: bytes) -> bool:
    """Whether `signature` over `text` was made with the key of this certificate (DER)."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except MALFORMED:
        return False
    return True


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key of our kind.

    Raises:
        ValueError: anything else.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("the key has a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("expected an EC key")  # noqa: TRY004 - a file's content is a value
    return key
