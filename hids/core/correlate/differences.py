"""What a composite's `different_*` and `not_same_*` compare: the event that asks with each past one, never two past ones."""

from hids.core.correlate.occurrence import Occurrence
from hids.messages.rule_table import WindowSpec

Values = tuple[bytes | None, ...]


def compares(spec: WindowSpec) -> bool:
    """Whether the rule has such options at all."""
    return bool(spec.different or spec.different_present)


def slots_of(spec: WindowSpec) -> tuple[int, ...]:
    """The slots to compare, in the order that `differ` expects."""
    dynamic = (spec.dynamic,) if spec.dynamic >= 0 else ()
    return spec.different_present + spec.different + dynamic


def compared(spec: WindowSpec, occurrence: Occurrence) -> Values:
    """The event's values in these slots."""
    return occurrence.values(slots_of(spec))


def differ(spec: WindowSpec, now: Values, past: Values) -> bool:
    """Whether a past event differs from this one wherever the rule says it must."""
    place = 0
    for _ in spec.different_present:
        if now[place] is None or past[place] is None or now[place] == past[place]:
            return False
        place += 1
    for _ in spec.different:
        if now[place] is not None and now[place] == past[place]:
            return False
        place += 1
    return spec.dynamic < 0 or now[place] is not None or past[place] is not None
