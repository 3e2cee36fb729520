"""What a rule asks of an event, one condition at a time.

Conditions are values: equal ones are one question, which is asked once an event. A condition on a field that
the event lacks does not hold, negated or not. All of them are pure: they look at the event and at nothing else.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

import msgspec

from hids.core.decode.event import Event
from hids.core.pattern.pattern import Pattern
from hids.core.rules.compiled import COMPILED
from hids.core.rules.lists import ListTable, Lookup
from hids.core.rules.schedule import Days, Hours


def _holds(pattern: Pattern, text: bytes, *, negated: bool) -> bool:
    """A suspended pattern does not hold, negated or not: its rule is suspended with it."""
    if negated:
        return not pattern.matches(text) and not pattern.guard.resting
    return bool(pattern.matches(text))


class DecodedAs(msgspec.Struct, frozen=True):
    """`<decoded_as>`: the name of the event's decoder."""

    name: str

    def holds(self, event: Event) -> bool:
        """Ask the event's decoder."""
        return event.decoder_name == self.name


class Category(msgspec.Struct, frozen=True):
    """`<category>` of a top-level rule: the type of the event's decoder."""

    type: str
    complete: tuple[str, ...] = ()
    """Fields that must all be there: of a firewall's events only those reach the rules that the firewall log can tell."""

    def holds(self, event: Event) -> bool:
        """Ask the decoder."""
        return event.decoder_type == self.type and (not self.complete or event.fields.keys() >= set(self.complete))


class ProgramName(msgspec.Struct, frozen=True):
    """`<program_name>`."""

    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the header."""
        return event.program is not None and _holds(self.pattern, event.program, negated=self.negated)


class Hostname(msgspec.Struct, frozen=True):
    """`<hostname>`."""

    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the header, or what stands in for its host."""
        return event.hostname is not None and _holds(self.pattern, event.hostname, negated=self.negated)


class Location(msgspec.Struct, frozen=True):
    """`<location>`: where the line was read."""

    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the line."""
        return _holds(self.pattern, event.whole_location, negated=self.negated)


class LogMatches(msgspec.Struct, frozen=True):
    """`<match>`, `<regex>`: the log behind its header."""

    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the log."""
        return _holds(self.pattern, event.log, negated=self.negated)


class FieldMatches(msgspec.Struct, frozen=True):
    """`<id>`, `<url>`, ... and `<user>`: the first of the fields that is there."""

    names: tuple[str, ...]
    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields."""
        value = field(event, self.names)
        return value is not None and _holds(self.pattern, value, negated=self.negated)


class FieldEquals(msgspec.Struct, frozen=True):
    """OSSEC's and Wazuh's plain `<action>`, which is no pattern."""

    name: str
    value: bytes
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields."""
        value = event.fields.get(self.name)
        return value is not None and (value == self.value) is not self.negated


class DynamicMatches(msgspec.Struct, frozen=True):
    """`<field name="...">`."""

    name: str
    pattern: Pattern
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields by the names that `<field>` may use."""
        value = event.dynamic.get(self.name)
        return value is not None and _holds(self.pattern, value, negated=self.negated)


LONGEST_ADDRESS = 64
"""Bytes; an IPv6 address takes 45 at most, and its zone is short."""

Network = IPv4Network | IPv6Network
Choice = Literal["first", "any"]


class AddressIn(msgspec.Struct, frozen=True):
    """`<srcip>`, `<dstip>`: a list of networks."""

    name: str
    entries: tuple[tuple[bool, Network | None], ...]
    """(negated, network); None is `any`."""
    choice: Choice = "first"
    """`first`: the first network that holds the address decides, and `!` negates an entry; where none holds it, the
    last entry's negation decides. `any` (Wazuh): one of them must hold it, as it is written."""
    negated: bool = False

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields. What is not an address is in no list."""
        value = event.fields.get(self.name)
        if value is None:
            return False
        address = _address(value) if len(value) <= LONGEST_ADDRESS else None
        if address is None:
            return self.negated and self.choice == "any"
        if self.choice == "any":
            found = any(network is None or address in network for _, network in self.entries)
        else:
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            found = self._first(address)
        return found is not self.negated

    def _first(self, address: IPv4Address | IPv6Address) -> bool:
        for negated, network in self.entries:
            if network is None or address in network:
                return not negated
        return bool(self.entries) and self.entries[-1][0]


@lru_cache(maxsize=4096)
def _address(value: bytes) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(value.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None


class SizeAtLeast(msgspec.Struct, frozen=True):
    """`maxsize="n"`, which means that the full log has at least n bytes."""

    size: int

    def holds(self, event: Event) -> bool:
        """Ask the line."""
        return len(event.full_log) >= self.size


class TimeIn(msgspec.Struct, frozen=True):
    """`<time>`: the time of day at which the event came, by the manager's clock and zone."""

    hours: Hours

    def holds(self, event: Event) -> bool:
        """Ask the clock's reading that came with the event."""
        return self.hours.hold(event.local_ms)


class DayIn(msgspec.Struct, frozen=True):
    """`<weekday>`."""

    days: Days

    def holds(self, event: Event) -> bool:
        """Ask the clock's reading that came with the event."""
        return self.days.hold(event.local_ms)


class Compiled(msgspec.Struct, frozen=True):
    """`<compiled_rule>`: one of the questions that are code."""

    name: str

    def holds(self, event: Event) -> bool:
        """Run it."""
        return COMPILED[self.name](event)


class InList(msgspec.Struct, frozen=True):
    """`<list>`: a field is, or is not, a key of a list."""

    names: tuple[str, ...]
    """The first that is there; `hostname` and `program_name` are the header's."""
    lookup: Lookup
    table: ListTable
    value: Pattern | None = None
    """What the key's value must match, for the lookups that ask."""

    def holds(self, event: Event) -> bool:
        """Look the field up."""
        key = listed_field(event, self.names)
        return key is not None and self.table.holds(self.lookup, key, self.value)


Condition = (
    DecodedAs
    | Category
    | ProgramName
    | Hostname
    | Location
    | LogMatches
    | FieldMatches
    | FieldEquals
    | DynamicMatches
    | AddressIn
    | SizeAtLeast
    | TimeIn
    | DayIn
    | Compiled
    | InList
)


def field(event: Event, names: Sequence[str]) -> bytes | None:
    """Value of the first of these fields that the event has."""
    fields = event.fields
    for name in names:
        value = fields.get(name)
        if value is not None:
            return value
    return None


def listed_field(event: Event, names: Sequence[str]) -> bytes | None:
    """Value of the first of these that the event has: a field, `<field>`'s names included, or a part of the header."""
    for name in names:
        if name == "hostname":
            value = event.hostname
        elif name == "program_name":
            value = event.program
        else:
            value = event.fields.get(name)
            if value is None:
                value = event.dynamic.get(name.lower())
        if value is not None:
            return value
    return None


def fields_of(condition: object) -> tuple[str, ...]:
    """Fields of which one must be there for the condition to hold; empty when it asks for none."""
    if isinstance(condition, FieldMatches):
        return condition.names
    if isinstance(condition, InList):
        return () if {"hostname", "program_name"} & set(condition.names) else condition.names
    if isinstance(condition, FieldEquals | DynamicMatches | AddressIn):
        return (condition.name,)
    return ()


def of_log(condition: object) -> bool:
    """Whether the answer follows from the program class and the log, whoever sent it and whenever."""
    if isinstance(condition, InList):
        return not {"hostname", "program_name"} & set(condition.names)
    return isinstance(
        condition,
        DecodedAs | Category | LogMatches | FieldMatches | FieldEquals | DynamicMatches | AddressIn | Compiled,
    )


def network(text: str) -> tuple[bool, Network | None]:
    """One entry of an address list. Raises ValueError."""
    negated = text.startswith("!")
    plain = text[negated:].strip()
    if plain == "any":
        return negated, None
    return negated, ip_network(plain, strict=False)
