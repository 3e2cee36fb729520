"""What a rule asks of an event, one condition at a time.

Conditions are values: equal ones are one question, which is asked once an event. A condition on a field that
the event lacks does not hold, negated or not.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from hids.core.decode.event import Event
from hids.core.pattern.pattern import Pattern


class DecodedAs(msgspec.Struct, frozen=True):
    """`<decoded_as>`: the name of the event's decoder."""

    name: str

    def holds(self, event: Event) -> bool:
        """Ask the event's decoder."""
        return event.decoder_name == self.name


class Category(msgspec.Struct, frozen=True):
    """`<category>` of a top-level rule: the type of the event's decoder (dialect `ossec`)."""

    type: str

    def holds(self, event: Event) -> bool:
        """Ask the decoder; of firewall events only those that say who, whom and what reach the rules."""
        if event.decoder_type != self.type:
            return False
        return self.type != "firewall" or event.fields.keys() >= {"action", "srcip", "dstip", "protocol"}


class ProgramName(msgspec.Struct, frozen=True):
    """`<program_name>`."""

    pattern: Pattern

    def holds(self, event: Event) -> bool:
        """Ask the header."""
        return event.program is not None and bool(self.pattern.matches(event.program))


class Hostname(msgspec.Struct, frozen=True):
    """`<hostname>`."""

    pattern: Pattern

    def holds(self, event: Event) -> bool:
        """Ask the header, or what stands in for its host."""
        return event.hostname is not None and bool(self.pattern.matches(event.hostname))


class LogMatches(msgspec.Struct, frozen=True):
    """`<match>`, `<regex>`: the log behind its header."""

    pattern: Pattern

    def holds(self, event: Event) -> bool:
        """Ask the log."""
        return bool(self.pattern.matches(event.log))


class FieldMatches(msgspec.Struct, frozen=True):
    """`<id>`, `<url>`, ... and `<user>`: the first of the fields that is there."""

    names: tuple[str, ...]
    pattern: Pattern

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields."""
        value = field(event, self.names)
        return value is not None and bool(self.pattern.matches(value))


class FieldEquals(msgspec.Struct, frozen=True):
    """OSSEC's `<action>`, which is no pattern."""

    name: str
    value: bytes

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields."""
        return event.fields.get(self.name) == self.value


class DynamicMatches(msgspec.Struct, frozen=True):
    """`<field name="...">`."""

    name: str
    pattern: Pattern

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields by the names that `<field>` may use."""
        value = event.dynamic.get(self.name)
        return value is not None and bool(self.pattern.matches(value))


Network = IPv4Network | IPv6Network


class AddressIn(msgspec.Struct, frozen=True):
    """`<srcip>`, `<dstip>`: the first network that holds the address decides; `!` negates an entry."""

    name: str
    entries: tuple[tuple[bool, Network | None], ...]
    """(negated, network); None is `any`."""

    def holds(self, event: Event) -> bool:
        """Ask the decoded fields. What is not an address is in no list."""
        value = event.fields.get(self.name)
        if value is None:
            return False
        try:
            address = ip_address(value.decode("ascii"))
        except (ValueError, UnicodeDecodeError):
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for negated, network in self.entries:
            if network is None or address in network:
                return not negated
        return bool(self.entries) and self.entries[-1][0]


Condition = (
    DecodedAs | Category | ProgramName | Hostname | LogMatches | FieldMatches | FieldEquals | DynamicMatches | AddressIn
)


def field(event: Event, names: Sequence[str]) -> bytes | None:
    """Value of the first of these fields that the event has."""
    fields = event.fields
    for name in names:
        value = fields.get(name)
        if value is not None:
            return value
    return None


def fields_of(condition: object) -> tuple[str, ...]:
    """Fields of which one must be there for the condition to hold; empty when it asks for none."""
    if isinstance(condition, FieldMatches):
        return condition.names
    if isinstance(condition, FieldEquals | DynamicMatches | AddressIn):
        return (condition.name,)
    return ()


def network(text: str) -> tuple[bool, Network | None]:
    """One entry of an address list. Raises ValueError."""
    negated = text.startswith("!")
    plain = text[negated:].strip()
    if plain == "any":
        return negated, None
    return negated, ip_network(plain, strict=False)
