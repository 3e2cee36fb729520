"""Signatures over what a manager has its agents do: Ed25519, with a key whose certificate is of the manager's own CA.

The agent has pinned that CA when it joined. So what is signed is genuine whoever brings it, and wherever it was kept. What a
key may sign is an alternative name in its certificate.
"""

from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hids.adapters.files import read_private
from hids.adapters.identity import MALFORMED
from hids.errors import StoreError

CONFIGURATION_URI = "urn:hids:manager:configuration"
"""May sign what agents are configured with (hids.messages.Configuration)."""


class Signer:
    """A key with its certificate, on the manager."""

    def __init__(self, key: Ed25519PrivateKey, certificate: bytes) -> None:
        self._key = key
        self.certificate = certificate
        """PEM; goes with each signature."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load key and certificate.

        Raises:
            StoreError: missing, damaged or open to others.
        """
        data = read_private(path)
        if data is None:
            raise StoreError(f"{path}: expected a key that signs; start the manager anew")
        try:
            key = serialization.load_pem_private_key(data, password=None)
            certificate = x509.load_pem_x509_certificate(data)
        except (TypeError, *MALFORMED) as error:
            raise StoreError(f"{path}: damaged: {error}; remove it and start the manager anew") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StoreError(f"{path}: expected an Ed25519 key; remove it and start the manager anew")
        return cls(key, certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, data: bytes) -> bytes:
        """The signature over some bytes."""
        return self._key.sign(data)


def problem_of(data: bytes, signature: bytes, certificate_pem: bytes, *, ca_pem: bytes, uri: str) -> str:
    """Why a signature is not genuine, by the CA that is trusted; empty when it is.

    Args:
        data: what is signed.
        signature: over it.
        certificate_pem: of the key that made it.
        ca_pem: of the CA.
        uri: what the certificate must allow.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
        if uri not in names.get_values_for_type(x509.UniformResourceIdentifier):
            return f"the certificate is not one that may sign this ({uri})"
        if not isinstance(key, Ed25519PublicKey):
            return "the certificate has no Ed25519 key"
        key.verify(signature, data)
    except MALFORMED as error:
        return f"the signature does not hold: {type(error).__name__}"
    return ""
