"""Signatures of response orders: Ed25519, with a key whose certificate is of the manager's own CA.

The agent has pinned that CA when it joined. So an order is genuine whoever brings it, and its audit record proves later who
gave it.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hids.adapters.files import read_private
from hids.adapters.identity import MALFORMED
from hids.core.response.order import pack, to_sign
from hids.errors import StoreError
from hids.messages.response import Respond, ResponseOrder

RESPONSES_URI = "urn:hids:manager:responses"
"""Among the alternative names of the certificate that may sign orders."""


class OrderSigner:
    """The manager's side."""

    def __init__(self, key: Ed25519PrivateKey, certificate: bytes) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def read(cls, path: Path) -> "OrderSigner":
        """Load key and certificate.

        Raises:
            StoreError: missing, damaged or open to others.
        """
        data = read_private(path)
        if data is None:
            raise StoreError(f"{path}: expected the key that signs response orders; start the manager anew")
        try:
            key = serialization.load_pem_private_key(data, password=None)
            certificate = x509.load_pem_x509_certificate(data)
        except (TypeError, *MALFORMED) as error:
            raise StoreError(f"{path}: damaged: {error}; remove it and start the manager anew") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StoreError(f"{path}: expected an Ed25519 key; remove it and start the manager anew")
        return cls(key, certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, order: ResponseOrder) -> Respond:
        """What goes to the agent."""
        body = pack(order)
        return Respond(body, self._key.sign(to_sign(body)), self._certificate)


def problem_of(respond: Respond, ca_pem: bytes) -> str:
    """Why an order is not genuine, by the CA that is trusted; empty when it is."""
    try:
        certificate = x509.load_pem_x509_certificate(respond.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
        if RESPONSES_URI not in names.get_values_for_type(x509.UniformResourceIdentifier):
            return "the certificate is not one that may sign orders"
        if not isinstance(key, Ed25519PublicKey):
            return "the certificate has no Ed25519 key"
        key.verify(respond.signature, to_sign(respond.body))
    except MALFORMED as error:
        return f"the signature does not hold: {type(error).__name__}"
    return ""
