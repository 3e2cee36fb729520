"""What the two ways to correlate have in common: `native` and `compat` implement this one port."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.window import Entry

NO_RULE = -1


class Semantics(Protocol):
    """What a ruleset means by its composites and by `ignore`."""

    asks_once: bool
    """A question that comes twice in one walk (a rule below two parents) gets the first answer again."""

    forgets_silenced: bool
    """An event that `ignore` silences is not remembered; where a parent speaks instead, it is the parent's."""

    @property
    def waiting(self) -> Sequence[int]:
        """Rules that wait for something not to come (`unless`)."""
        ...

    def waits(self, rules: AbstractSet[int], occurrence: Occurrence) -> Sequence[int]:
        """Those of `waiting` that an event of these rules concerns."""
        ...

    def ask(self, rule: int, occurrence: Occurrence) -> tuple[Entry, ...] | None:
        """Whether composite `rule` fires: the past events that it counted, newest first, or None."""
        ...

    def silences(self, rule: int, occurrence: Occurrence) -> bool:
        """Whether the rule's `ignore` time runs; if not, it starts now."""
        ...

    fires_all: bool
    """Every composite that the event completes fires; otherwise the first that the walk meets is all."""

    def remember(self, base: int, finals: tuple[int, ...], fired: frozenset[int], occurrence: Occurrence) -> None:
        """Keep the event for later questions.

        Args:
            base: the event's rule if no composite had fired.
            finals: the event's rules; empty for none.
            fired: composites that fired for it.
            occurrence: the event.
        """
        ...
