"""What outputs share that publish each alert by itself and are told of each whether it arrived."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from hids.core.alert.text import plain
from hids.core.delivery import Delivery, Refused
from hids.errors import StoreError

log = structlog.get_logger()

CLOSING_S = 1.0
"""A connection that does not close in this time is left to the system."""


class _Agent(msgspec.Struct, frozen=True):
    id: str = ""


class Named(msgspec.Struct, frozen=True):
    """What a message says beside the alert."""

    id: str
    """The alert's."""
    agent: _Agent = _Agent()


_named = msgspec.json.Decoder(Named)


class Publisher(ABC):
    """Publishes deliveries over a connection that any trouble ends: a new one may find a server that can."""

    never: tuple[type[Exception], ...]
    """Errors that say that an alert will not be taken, however often it comes."""
    not_now: tuple[type[Exception], ...]
    """Errors after which it is tried again. Any other is a bug, and raised."""

    def __init__(self, name: str, timeout_s: float) -> None:
        """`name` is the output's, for the log; a try may take `timeout_s`."""
        self._name = name
        self._timeout_s = timeout_s
        self._troubles: tuple[type[Exception], ...] = (*self.not_now, ssl.SSLError, StoreError, ValueError)
        self._closing_badly: tuple[type[Exception], ...] = (*self.not_now, TimeoutError)

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: not all were acknowledged; which were, and which never will be, is told.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.open()
                await publish_each(delivery.alerts, self.publish, never=self.never, not_now=self.not_now)
        except Refused:
            await self.close()
            raise
        except TimeoutError as error:
            await self.close()
            raise Refused(f"no answer within {self._timeout_s:g} s") from error
        except self._troubles as error:
            await self.close()
            raise Refused(in_a_line(error)) from error

    async def close(self) -> None:
        """Close what is open."""
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.disconnect()
        except self._closing_badly as error:
            log.debug("connection did not close well", output=self._name, error=str(error))

    @abstractmethod
    async def open(self) -> None:
        """Connect, where there is no connection that still is one."""

    @abstractmethod
    async def publish(self, alert: bytes, named: Named) -> None:
        """Publish one alert; ends when it has arrived."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Forget the connection at once, then close it; nothing where there is none."""


async def publish_each(
    alerts: tuple[bytes, ...],
    publish: Callable[[bytes, Named], Awaitable[None]],
    *,
    never: tuple[type[Exception], ...],
    not_now: tuple[type[Exception], ...],
) -> None:
    """Publish alerts, all at once and in their order.

    Args:
        alerts: JSON objects.
        publish: ends when one has arrived, and raises when it has not.
        never: errors that say that an alert will not be taken, however often it comes.
        not_now: errors after which it is tried again. Any other is a bug, and raised.

    Raises:
        Refused: not all have arrived.
    """

    async def one(alert: bytes) -> None:
        await publish(alert, _named.decode(alert))

    results = await asyncio.gather(*map(one, alerts), return_exceptions=True)
    failed = {place: result for place, result in enumerate(results) if isinstance(result, BaseException)}
    never = (*never, msgspec.MsgspecError)
    for error in failed.values():
        if not isinstance(error, never + not_now):
            raise error
    if failed:
        hopeless = {place: in_a_line(error) for place, error in failed.items() if isinstance(error, never)}
        later = [error for place, error in failed.items() if place not in hopeless]
        taken = frozenset(range(len(alerts))) - failed.keys()
        raise Refused(in_a_line((later or list(failed.values()))[0]), taken=taken, hopeless=hopeless)


def in_a_line(error: BaseException) -> str:
    """An error's kind and words, bounded; what acts on a terminal is escaped."""
    return f"{type(error).__name__}: {plain(' '.join(str(error).split())[:300])}"
