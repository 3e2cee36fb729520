"""Webhook: alerts as JSON over HTTP, signed.

    POST url
    Content-Type: application/json
    X-Hids-Delivery: 101-150                    the same in every try
    X-Hids-Timestamp: 1764000000                seconds since 1970, of this try
    X-Hids-Signature: sha256=<hex>              HMAC-SHA256 of timestamp + "." + body with the secret

    {"delivery":"101-150","alerts":[{...},...]}

Any status from 200 to 299 says "I have them", and the next ones come. Each alert has the `id` under which a receiver
that was told twice knows it again.
"""

import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Any

import aiohttp

from hids.adapters.files import read_private
from hids.adapters.outputs.http import SHOWN, after_s, open_session, shown
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Webhook
from hids.errors import StoreError
from hids.ports import Clock


class WebhookDestination:
    """Posts deliveries. For one event loop."""

    def __init__(self, webhook: Webhook, clock: Clock) -> None:
        self._webhook = webhook
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: it was not taken, or nobody knows whether it was.
        """
        body = b'{"delivery":"%s","alerts":[%s]}' % (delivery.id.encode(), b",".join(delivery.alerts))
        try:
            session = self._open()
            async with session.post(
                self._webhook.url, data=body, headers=self._headers(delivery, body), allow_redirects=False
            ) as response:
                if not 200 <= response.status < 300:  # noqa: PLR2004 - what HTTP calls success
                    said = shown(await response.content.read(SHOWN))
                    raise Refused(f"the receiver answers {response.status}: {said}", after_s(response))
        except TimeoutError as error:
            raise Refused(f"no answer within {self._webhook.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError, StoreError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close what is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(self._webhook.ca_file, self._webhook.timeout_s)
        return self._session

    def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        moment = str(self._clock.now_ms() // 1000)
        headers: dict[str, Any] = {
            "Content-Type": "application/json",
            "X-Hids-Delivery": delivery.id,
            "X-Hids-Timestamp": moment,
        }
        if self._webhook.secret_file:
            # Read for each try, so that a new secret needs no restart.
            secret = read_private(Path(self._webhook.secret_file))
            if secret is None or not secret.strip():
                raise StoreError(f"{self._webhook.secret_file}: expected the secret that signs requests, found none")
            signature = hmac.new(secret.strip(), moment.encode() + b"." + body, hashlib.sha256)
            headers["X-Hids-Signature"] = f"sha256={signature.hexdigest()}"
        return headers
