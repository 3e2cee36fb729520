"""What outputs share that publish each alert by itself and are told of each whether it arrived."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from hids.core.alert.text import plain
from hids.core.delivery import Refused


class _Agent(msgspec.Struct, frozen=True):
    id: str = ""


class Named(msgspec.Struct, frozen=True):
    """What a message says beside the alert."""

    id: str
    """The alert's."""
    agent: _Agent = _Agent()


_named = msgspec.json.Decoder(Named)


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
