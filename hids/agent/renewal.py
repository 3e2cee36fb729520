"""Renewal of the agent's certificate: a new key when the old certificate ends soon, used once the manager has signed it.

    link ==Renew==> manager ==Renewed==> identity file

The old identity is good until the new one is used.
"""

from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from hids.adapters.identity import Identity, key_pem, make_csr, new_key
from hids.errors import RemoteProtocolError
from hids.messages.agent_link import Renew
from hids.ports import Clock

log = structlog.get_logger()

RENEW_DAYS = 60
"""Long enough for a host that is seldom on; certificates are made for 825 days."""
RENEW_PAUSE_S = 86_400.0
"""After a renewal: by a clock that is ahead the new certificate may end soon, too."""


class Renewal:
    """The agent's identity as the session has it, and the key that waits for its certificate."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """`folder` has the identity."""
        self._folder = folder
        self._clock = clock
        self._identity: Identity | None = None
        self._new_key: EllipticCurvePrivateKey | None = None
        self._renewed_s = float("-inf")

    def begin(self, identity: Identity) -> None:
        """A session starts with this identity; what an earlier one asked for does not come any more."""
        self._identity, self._new_key = identity, None

    def due(self) -> Renew | None:
        """Ask for a new certificate when this one ends soon."""
        identity = self._identity
        if identity is None or self._new_key is not None:
            return None
        if self._clock.monotonic_s() - self._renewed_s < RENEW_PAUSE_S:
            return None
        left_ms = identity.ends_ms - self._clock.now_ms()
        if left_ms > RENEW_DAYS * 86_400_000:
            return None
        self._new_key = new_key()
        log.info("certificate ends soon, asking for a new one", days=left_ms // 86_400_000)
        return Renew(make_csr(self._new_key))

    def take(self, certificate: bytes) -> None:
        """Use the new certificate from the next session on.

        Raises:
            RemoteProtocolError: it is not for our key, from our CA and with our id; the old one stays.
        """
        identity, key, self._new_key = self._identity, self._new_key, None
        if identity is None or key is None:
            raise RemoteProtocolError("a certificate came that nobody asked for")
        new = Identity(
            manager=identity.manager, port=identity.port, key=key_pem(key), certificate=certificate, ca=identity.ca
        )
        new.check(identity.agent_id)
        new.write(self._folder)
        self._renewed_s = self._clock.monotonic_s()
        log.info("certificate renewed", agent=new.agent_id)
