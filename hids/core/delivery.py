"""Delivery: what an output and the one who sends to it speak about, and which alerts an output wants."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from hids.core.alert.incident import is_news
from hids.core.outputs import COMPLIANCE, Output
from hids.core.rules.compliance import Required
from hids.errors import HidsError

T = TypeVar("T")


class Delivery(msgspec.Struct, frozen=True):
    """Alerts that go in one try."""

    first: int
    last: int
    """Numbers that it covers; alerts that are not wanted are among them, but not sent."""
    alerts: tuple[bytes, ...]
    """JSON objects, each on a line without its newline."""

    @property
    def id(self) -> str:
        """The same in every try."""
        return f"{self.first}-{self.last}"


class Refused(HidsError):  # noqa: N818 - an answer
    """The receiver did not take it, in one line."""

    def __init__(
        self,
        reason: str,
        after_s: float = 0.0,
        *,
        taken: frozenset[int] = frozenset(),
        hopeless: Mapping[int, str] | None = None,
    ) -> None:
        """Say why.

        Args:
            reason: one line for a person.
            after_s: how long it asks us to wait.
            taken: places in the delivery's alerts that it has all the same: they are not sent again.
            hopeless: places of those that it will never take, and why: they become dead letters.
        """
        super().__init__(reason)
        self.after_s = after_s
        self.taken = taken
        self.hopeless = dict(hopeless or {})


def read_each(delivery: Delivery, read: Callable[[bytes], T]) -> tuple[list[T], dict[int, str]]:
    """Read the alerts of a delivery, for who cannot send what it cannot read.

    Returns:
        What `read` gave, and by their places those of which it raised a ValueError, with why: see `refuse_odd`.
    """
    found: list[T] = []
    odd: dict[int, str] = {}
    for place, line in enumerate(delivery.alerts):
        try:
            found.append(read(line))
        except ValueError as error:
            odd[place] = str(error)
    return found, odd


def refuse_odd(delivery: Delivery, odd: Mapping[int, str]) -> None:
    """When all others are sent: make dead letters of those that could not be read.

    Raises:
        Refused: there are some.
    """
    if odd:
        taken = frozenset(range(len(delivery.alerts))) - odd.keys()
        raise Refused("not everything is an alert", taken=taken, hopeless=odd)


class Destination(Protocol):
    """Where a sender hands its deliveries: one for each output. For one event loop."""

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: it was not taken, not as a whole, or nobody knows whether it was. The same comes again.
        """
        ...

    async def close(self) -> None:
        """Close what is open; never raises."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A destination that does something later on, by itself: mails of what was gathered."""

    def due_s(self) -> float | None:
        """In how many seconds it wants `flush`; None: it has nothing to do."""
        ...

    async def flush(self, *, everything: bool = False) -> None:
        """Do what is due, or all there is.

        Raises:
            Refused: it was not taken; `flush` comes again.
        """
        ...


class Cursor(msgspec.Struct, frozen=True):
    """Where a receiver stands."""

    taken: int = 0
    """The receiver has the alerts up to this number."""
    trying: int = 0
    """The try under way ends with this one; not above `taken`: none is."""
    settled: tuple[int, ...] = ()
    """Places in the delivery under way that need no further try: taken, or set aside as dead letters."""


class _Rule(Required, frozen=True):
    id: str | int = ""
    level: int = 0
    mail: bool = False
    groups: tuple[str, ...] = ()
    mitre: dict[str, Any] = msgspec.field(default_factory=dict)


class _Agent(msgspec.Struct, frozen=True):
    id: str = ""
    name: str = ""
    ip: str = "any"


class _Numbered(msgspec.Struct):
    number: int


class _Alert(msgspec.Struct):
    hids: _Numbered
    rule: _Rule = _Rule()
    agent: _Agent = _Agent()
    location: str = ""


_alert = msgspec.json.Decoder(_Alert)


class Wanted:
    """Says of alerts whether an output wants them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._groups = frozenset(output.groups)
        self._rules = frozenset(map(str, output.rules))

    def __call__(self, line: bytes) -> tuple[int, bool]:
        """The number of an alert, and whether it is wanted."""
        alert = _alert.decode(line)
        return alert.hids.number, self._wants(alert) and (self._output.send == "alerts" or is_news(line))

    def _wants(self, alert: _Alert) -> bool:
        output, rule, agent = self._output, alert.rule, alert.agent
        return (
            rule.level >= output.level
            and (rule.mail or not output.mail)
            and (not self._groups or not self._groups.isdisjoint(rule.groups))
            and (not self._rules or str(rule.id) in self._rules)
            and (
                not output.agents or any(fnmatchcase(agent.id, a) or fnmatchcase(agent.name, a) for a in output.agents)
            )
            and (not output.locations or _is_at(f"({agent.name}) {agent.ip}->{alert.location}", output.locations))
            and (not output.compliance or any(_serves(rule, wanted) for wanted in output.compliance))
        )


def _is_at(origin: str, locations: tuple[str, ...]) -> bool:
    """OSSEC's simple match, as `locations` explains it."""
    for text in locations:
        inner = text.removeprefix("^")
        inner = inner.removesuffix("$")
        begins, ends = text.startswith("^"), text.endswith("$")
        if begins and ends:
            found = origin == inner
        elif begins:
            found = origin.startswith(inner)
        elif ends:
            found = origin.endswith(inner)
        else:
            found = inner in origin
        if found:
            return True
    return False


def _serves(rule: _Rule, wanted: str) -> bool:
    kind, _, requirement = wanted.partition(":")
    if kind not in COMPLIANCE:
        return False
    if kind == "mitre":
        found: tuple[str, ...] = tuple(map(str, rule.mitre.get("id", ())))
    else:
        found = getattr(rule, kind)
    return any(not requirement or value == requirement or value.startswith(f"{requirement}.") for value in found)
