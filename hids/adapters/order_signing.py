"""Signatures of response orders. An order's audit record proves later who gave it."""

from pathlib import Path
from typing import Self

from hids.adapters import signing
from hids.core.response.order import pack, to_sign
from hids.messages.response import Respond, ResponseOrder

RESPONSES_URI = "urn:hids:manager:responses"
"""Among the alternative names of the certificate that may sign orders."""


class OrderSigner:
    """The manager's side."""

    def __init__(self, signer: signing.Signer) -> None:
        self._signer = signer

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load key and certificate.

        Raises:
            StoreError: missing, damaged or open to others.
        """
        return cls(signing.Signer.read(path))

    def sign(self, order: ResponseOrder) -> Respond:
        """What goes to the agent."""
        body = pack(order)
        return Respond(body, self._signer.sign(to_sign(body)), self._signer.certificate)


def problem_of(respond: Respond, ca_pem: bytes) -> str:
    """Why an order is not genuine, by the CA that is trusted; empty when it is."""
    return signing.problem_of(
        to_sign(respond.body), respond.signature, respond.certificate, ca_pem=ca_pem, uri=RESPONSES_URI
    )
