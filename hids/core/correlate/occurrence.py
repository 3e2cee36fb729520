"""One event on its way through the lane: what the rules may ask of it, and what they did to it."""

from hashlib import blake2b

from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleTable

SHORT = 64
"""Longer values are remembered as a hash of their own: a line of 64 KiB in every window would eat the memory."""


class Occurrence:
    """An event with its sender and the rules that its numbers mean."""

    __slots__ = ("agent", "event", "keys", "mark", "previous_log", "rules", "table")

    def __init__(self, table: RuleTable, event: EventOut, agent: str) -> None:
        self.table = table
        self.event = event
        self.agent = agent
        self.mark = 0
        """Level of the last composite that fired for the event (correlation "compat")."""
        self.rules: set[int] = set()
        """What the event is so far: its rule if no composite fired, and composites that did."""
        self.keys: dict[tuple[int, ...], bytes | None] = {}
        """Keys by the slots that they are of: most composites that an event feeds count by the same."""
        self.previous_log = b""
        """What `check_diff` found changed: the log before."""

    @property
    def at_ms(self) -> int:
        """Event time."""
        return self.event.at_ms

    def value(self, slot: int) -> bytes | None:
        """A slot's value, short enough to be kept and equal only to its equals."""
        value = self.event.slots[slot]
        return value if value is None or len(value) <= SHORT else short(value)

    def values(self, slots: tuple[int, ...]) -> tuple[bytes | None, ...]:
        """Values of several slots."""
        return tuple(map(self.value, slots))

    def whole(self, name: str) -> bytes | None:
        """The whole value of a slot by its name; None where no rule of the set needs it or the event lacks it."""
        try:
            return self.event.slots[self.table.slots.index(name)]
        except ValueError:
            return None


def short(value: bytes) -> bytes:
    """`value`, or a hash of it when it is long; two of these are equal only when the values are."""
    return value if len(value) <= SHORT else b"#" + blake2b(value).digest()
