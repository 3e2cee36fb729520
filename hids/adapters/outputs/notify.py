"""Notify: alerts as short messages to a chat, pager or phone, through apprise, which knows over a hundred services.

A delivery is one message. The pause between two is part of the next one's delivery: what comes meanwhile shares it.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

import apprise

from hids.adapters.files import read_private
from hids.adapters.outputs.blocking import Blocking
from hids.core.alert.notice import Notice, notice
from hids.core.alert.text import plain
from hids.core.alert.view import View, view
from hids.core.delivery import Delivery, Refused, read_each, refuse_odd
from hids.core.outputs import Notify
from hids.errors import StoreError
from hids.ports import Clock

_WARNING_LEVEL, _FAILURE_LEVEL = 7, 12
"""From these levels on a message is of apprise's type "warning", "failure"; below "info"."""
_SECRET = 6
"""Pieces of the URL from this length on are taken out of what is logged."""


class NotifyDestination:
    """Sends messages. For one event loop."""

    def __init__(self, output: Notify, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._blocking = Blocking(output.output)
        self._next_s = clock.monotonic_s()

    async def post(self, delivery: Delivery) -> None:
        """Send one message. Raises `Refused` when the service does not take it."""
        alerts, odd = read_each(delivery, view)
        if alerts:
            await asyncio.sleep(max(0.0, self._next_s - self._clock.monotonic_s()))
            await self._send(alerts)
            self._next_s = self._clock.monotonic_s() + self._output.every_s
        refuse_odd(delivery, odd)

    async def close(self) -> None:
        """Nothing is open."""

    async def _send(self, alerts: list[View]) -> None:
        try:
            url = self._url()
        except StoreError as error:
            raise Refused(str(error)) from error
        top = max(alert.rule.level for alert in alerts)
        kind = apprise.NotifyType.INFO
        if top >= _WARNING_LEVEL:
            kind = apprise.NotifyType.FAILURE if top >= _FAILURE_LEVEL else apprise.NotifyType.WARNING
        message = notice(alerts, self._output.prefix)
        failure = await self._blocking.run(lambda: _notify(url, message, kind), self._output.timeout_s)
        if failure is not None:
            raise Refused(_without(url, failure))

    def _url(self) -> str:
        """Read for each message, so that a new one needs no restart."""
        path = self._output.url_file
        secret = read_private(Path(path))
        if secret is None or len(secret.split()) != 1:
            raise StoreError(f"{path}: expected one URL of apprise, such as slack://token/#channel, on one line")
        return secret.strip().decode("utf-8", "replace")


def _notify(url: str, message: Notice, kind: apprise.NotifyType) -> str | None:
    """Send; returns why it failed, or None. Blocks."""
    service: Any = apprise.Apprise()  # its types are those of all its plugins
    capture: Any = apprise.LogCapture
    with capture(level=logging.WARNING) as said:
        if not service.add(url):
            return "apprise does not know such a URL; `apprise --details` lists all kinds"
        if service.notify(message.body, message.title, kind, body_format=apprise.NotifyFormat.TEXT):
            return None
        return str(said.getvalue()) or "the service did not take it"


def _without(url: str, text: str) -> str:
    """What the service said, in one line, without the secrets that its URL has."""
    for piece in sorted({piece for piece in _pieces(url) if len(piece) >= _SECRET}, key=len, reverse=True):
        text = text.replace(piece, "***")
    return plain(" ".join(text.split()))[:300]


def _pieces(url: str) -> list[str]:
    scheme, _, rest = url.partition("://")
    text = "".join(c if c.isalnum() or c in "-_." else " " for c in rest)
    return [piece for piece in text.split() if piece != scheme]
