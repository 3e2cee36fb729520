"""Composite rules as data: what they count, what past events must share with the present one, how many are needed."""

from collections.abc import Iterable
from typing import NamedTuple

from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Pattern

DEFAULT_TIMEFRAME_S = 360
"""`analysisd.default_timeframe`."""


class Source(NamedTuple):
    """What a composite counts: one of the four is there."""

    sid: int | None = None
    """Events of this rule ..."""
    group: str | None = None
    """... or of every rule of this group ..."""
    regex: Pattern | None = None
    """... or all whose log matches ..."""
    sequence: "Sequence | None" = None
    """... or one event after another."""


class Sequence(NamedTuple):
    """An event, and what must follow it within the timeframe, or must not."""

    first: tuple[int, ...]
    """Ids of the rules that begin it."""
    then: tuple[int, ...]
    """Ids of the rules that end it."""
    unless: bool
    """The rule speaks when none of `then` comes in time."""


class Likeness(NamedTuple):
    """What past events must have in common with the present one. Values are slots (`hids.core.rules.slots`)."""

    same: tuple[str, ...] = ()
    """There in both and equal; sorted."""
    different: tuple[str, ...] = ()
    """Not there in both and equal."""
    different_present: tuple[str, ...] = ()
    """There in both and different."""
    dynamic: bool = False
    """One of the two must have a dynamic field."""
    everywhere: bool = False
    """`global_frequency`: the agent does not matter; in ours an option of `unless`, for others are so anyway."""
    distinct: tuple[str, ...] = ()
    """Events with equal values of these count once; all of them must be there."""


class Window(NamedTuple):
    """What makes a rule a composite: it fires when enough events came before, within a time."""

    source: Source
    frequency: int | None
    """As written; None when left out."""
    needed: int
    """Past events within the timeframe, beside the one that fires."""
    timeframe_s: int
    like: Likeness
    per_agent: bool
    """Events of other agents do not count."""


def needed(frequency: int | None, dialect: Dialect) -> int:
    """Past events that a frequency asks for.

    OSSEC fires at the (N+2)th event, Wazuh and ours at the Nth. Without a frequency one past event is enough.
    """
    if frequency is None:
        return 1
    return frequency + 1 if dialect == "ossec" else max(frequency - 1, 1)


# ---- options ---------------------------------------------------------------------------------------------

_OSSEC_SAME = {
    "same_source_ip": "srcip",
    "same_srcip": "srcip",
    "same_src_port": "srcport",
    "same_dst_port": "dstport",
    "same_user": "dstuser",
    "same_id": "id",
    "same_location": "hostname",
}
_OSSEC_DIFFERENT = {"different_url": "url", "different_srcgeoip": "srcgeoip"}
_OSSEC_NOT_SAME = {
    "not_same_source_ip": "srcip",
    "not_same_user": "dstuser",
    "not_same_id": "id",
    "not_same_agent": "hostname",
}
"""OSSEC's program only takes back `same_*` for these, and ignores `different_srcip`; its manual says that they ask for
other values. So do we, natively."""
_OSSEC_REGEX_SLOTS = frozenset(("dstuser", "id", "srcip", "url", "srcgeoip"))
"""What OSSEC compares when it searches all past logs for a regex."""

_SLOTS = {
    "source_ip": "srcip",
    "srcip": "srcip",
    "dstip": "dstip",
    "src_port": "srcport",
    "srcport": "srcport",
    "dst_port": "dstport",
    "dstport": "dstport",
    "srcuser": "srcuser",
    "user": "dstuser",
    "protocol": "protocol",
    "action": "action",
    "id": "id",
    "url": "url",
    "data": "data",
    "extra_data": "extra_data",
    "status": "status",
    "system_name": "system_name",
    "srcgeoip": "srcgeoip",
    "dstgeoip": "dstgeoip",
    "location": "location",
}
_NOT_SAME = ("not_same_source_ip", "not_same_user", "not_same_id")
_OURS = {"user": "user", "dstuser": "dstuser", "agent": "agent"}
"""Our `same_user` is about whichever user the event names; `agent` is who sent it, whatever the log says."""
_FIELDS = ("same_field", "different_field", "not_same_field", "distinct_field")


class Options:
    """Collects the options of one rule, in the order in which they stand."""

    def __init__(self, dialect: Dialect, *, compat: bool) -> None:
        self._dialect: Dialect = dialect
        self._compat = compat
        self._same: set[str] = set()
        self._different: set[str] = set()
        self._distinct: set[str] = set()
        self._dynamic = False
        self._everywhere = False
        self.given = False
        """The rule has an option that makes no sense without a window."""

    def take(self, name: str, text: str) -> bool:
        """Note one option; False when the dialect has none of that name."""
        known = self._take_ossec(name) if self._dialect == "ossec" else self._take(name, text)
        self.given = self.given or known
        return known

    def _take_ossec(self, name: str) -> bool:
        if name in _OSSEC_SAME:
            self._same.add(_OSSEC_SAME[name])
        elif name in _OSSEC_DIFFERENT:
            self._different.add(_OSSEC_DIFFERENT[name])
        elif name in _OSSEC_NOT_SAME:
            self._same.discard(_OSSEC_NOT_SAME[name])
            self._differs(_OSSEC_NOT_SAME[name])
        elif name == "different_srcip":
            self._differs("srcip")
        else:
            return False
        return True

    def _differs(self, slot: str) -> None:
        if not self._compat:
            self._different.add(slot)

    def _take(self, name: str, text: str) -> bool:
        ours = self._dialect == "hids"
        if name in _FIELDS and (ours or name != "distinct_field"):
            slot = field_slot(text, self._dialect)
            self._of(name.partition("_")[0]).add(slot)
            self._dynamic = self._dynamic or (name != "same_field" and not ours)
            return True
        if name == "global_frequency":
            self._everywhere = True
            return True
        if name in ("same_agent", "not_same_agent") and not ours:
            return True  # Wazuh warns and does nothing
        relation, _, what = name.partition("_")
        if name in _NOT_SAME:
            relation, what = "different", name.removeprefix("not_same_")
        slot = (_OURS.get(what) if ours else None) or _SLOTS.get(what, "")
        if relation not in ("same", "different", *(("distinct",) if ours else ())) or not slot:
            return False
        # The place of an event is its host and its file; Wazuh counts per agent and compares the rest.
        slots = {"hostname", "location"} if ours and slot == "location" else {slot}
        self._of(relation).update(slots)
        return True

    def _of(self, relation: str) -> set[str]:
        return {"same": self._same, "distinct": self._distinct}.get(relation, self._different)

    @property
    def counts_values(self) -> bool:
        """There is a `distinct_*`."""
        return bool(self._distinct)

    def clash(self, *, sequence: bool) -> bool:
        """Options that have no meaning together."""
        return bool(self._distinct and self._different) or (sequence and bool(self._distinct or self._different))

    def scope_clash(self, *, unless: bool) -> str:
        """What is wrong with how the agent matters, in our dialect; empty for nothing."""
        if self._dialect != "hids" or not self._everywhere:
            return ""
        if not unless:
            return (
                "<global_frequency /> is for <unless>; others count the whole fleet, or with <same_agent /> each agent"
            )
        return "<same_agent /> and <global_frequency /> contradict each other" if "agent" in self._same else ""

    def likeness(self, source: Source) -> Likeness:
        """All of them together, for a composite that counts `source`."""
        if self._dialect != "ossec":
            return Likeness(
                _in_order(self._same),
                _in_order(self._different),
                (),
                self._dynamic,
                self._everywhere,
                _in_order(self._distinct),
            )
        if source.regex is None or not self._compat:
            same = self._same if source.regex is None else self._same | {"type"}
            return Likeness(same=_in_order(same), different_present=_in_order(self._different))
        return Likeness(
            same=_in_order((self._same & _OSSEC_REGEX_SLOTS) | {"type"}),
            different_present=_in_order(self._different & _OSSEC_REGEX_SLOTS),
        )


def field_slot(name: str, dialect: Dialect) -> str:
    """Slot of a field by the name that `<field>` knows it by."""
    return "field:" + (name if dialect == "hids" else name.lower())


def _in_order(slots: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(slots))
