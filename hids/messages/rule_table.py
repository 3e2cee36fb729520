"""A ruleset as the lane needs it, written by the nursery beside the compiled plan."""

import msgspec

from hids.messages.terms import Correlation, Dialect


class WindowSpec(msgspec.Struct, frozen=True, array_like=True):
    """How a composite rule counts. Numbers of fields are slots."""

    needed: int
    """Past events that must lie within the timeframe of the one that fires."""
    timeframe_ms: int
    key: tuple[int, ...]
    """Must be there in both events and equal (`same_*`)."""
    per_agent: bool = False
    different: tuple[int, ...] = ()
    """A past event does not count when one of these is there in both and equal; what is missing differs."""
    different_present: tuple[int, ...] = ()
    """OSSEC's `different_*`: must be there in both events, too."""
    dynamic: int = -1
    """Slot that tells whether an event has dynamic fields; -1: it does not matter. With Wazuh's `different_field` a past
    event does not count either when neither event has any."""
    regex: int = -1
    """Slot that tells whether a past event's log matches `<if_matched_regex>`; -1: the rule has none."""
    frequency: int = 0
    """As written; 0 where it is not."""
    distinct: tuple[int, ...] = ()
    """Events count once for each value of these, all of which must be there."""
    first: tuple[int, ...] = ()
    """Rules (indexes) of the first event of a sequence; empty where the rule is no sequence."""
    then: tuple[int, ...] = ()
    """Rules of the event that follows it within the timeframe ..."""
    unless: bool = False
    """... or, with this, that must not follow it."""


class RuleRow(msgspec.Struct, frozen=True, array_like=True):
    """One rule as the lane needs it: never a pattern, never a tree."""

    id: int
    level: int
    identity: str
    """Hash of all that gives the rule's state its meaning; equal identity keeps state over a reload."""
    head: bytes
    """The alert's `"rule":{...` up to and without `"firedtimes":`."""
    end: bytes
    """... and what follows the number, closing the object."""
    window: WindowSpec | None = None
    feeds: tuple[int, ...] = ()
    """Composites (indexes) whose windows this rule's events enter."""
    ignore_ms: int = 0
    log: int = 0
    """1: always written (log_alert), -1: never (no_log), 0: when its level reaches the configured one."""
    middle: bytes = b""
    """Not empty: the description differs from event to event (`EventOut.descriptions`). It stands between `head` and
    this, which goes on up to `"firedtimes":`."""
    counted: bool = True
    """False (no_counter): alerts do not tell `firedtimes`."""
    ignore_fields: tuple[int, ...] = ()
    """Slots whose values `<ignore>` writes down, in the order in which they stand in the line."""
    check_ignored: tuple[int, ...] = ()
    """Slots whose values `<check_if_ignored>` looks for."""
    sid_list: tuple[int, ...] = ()
    """Composites that count this very rule (`if_matched_sid`), in load order. An event of a rule that has such enters
    their common list and no list of a group (correlation "compat")."""
    group_marks: tuple[tuple[int, int], ...] = ()
    """(composite that counts a group, times): the lists that an event enters, each so often (correlation "compat")."""
    responds: bool = True
    """False (no_ar, accuracy 0): its alerts are never a reason for a response."""


class RuleTable(msgspec.Struct, frozen=True):
    """A ruleset as the lane needs it, written beside the compiled plan under its hash."""

    hash: str
    name: str
    slots: tuple[str, ...]
    """What `EventOut.slots` holds: names of fields, and these:

    hostname, location, decoder (its name), type (its type), log (the text behind the header), dynamic ("1" when there are
    dynamic fields), fts (the first-time-seen key), fts_ids ("1" when that decoder has type ids), regex:N ("1" when the
    log matches the N-th past-log pattern). None where the event has no such thing."""
    rules: tuple[RuleRow, ...]
    dialect: Dialect = "hids"
    correlation: Correlation = "native"
