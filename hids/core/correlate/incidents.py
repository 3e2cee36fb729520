"""Incidents: alerts of composites about one key that go on are one thing that happens.

An incident is known by what the rules count by: all alerts of a ruleset about one source address, say, whichever rule speaks,
as long as no pause between them is longer than the rule's timeframe and `ignore` together. What is new in it is
marked: its first alert, a level higher than any before, an agent that was not in it. So whoever is told only
what is new misses none of these.
"""

import msgspec

from hids.core.correlate.cells import Cells
from hids.core.correlate.native import window_key
from hids.core.correlate.occurrence import Occurrence
from hids.messages.outputs import Incident, News
from hids.messages.rule_table import RuleRow

AGENTS_MAX = 1_000
"""Agents remembered of one incident; each further one counts as new."""


class _Course(msgspec.Struct, array_like=True):
    id: str
    first_ms: int
    until_ms: int
    """It goes on when something happens up to then."""
    level: int
    agents: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Course)


class Incidents:
    """What goes on, in cells by (ruleset, key)."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def join(self, rule: int, occurrence: Occurrence, alert_id: str, *, told: bool = True) -> Incident | None:
        """The incident of a composite's alert; None for rules that count nothing.

        Args:
            rule: index of the rule.
            occurrence: the event.
            alert_id: names the incident if it begins here.
            told: False when the alert is silenced, and only shows that it goes on.
        """
        row = occurrence.table.rules[rule]
        if row.window is None:
            return None
        pause_ms = row.window.timeframe_ms + row.ignore_ms
        at_ms = occurrence.at_ms
        where = self._where(row, occurrence)
        data = self._cells.get(where)
        course = None if data is None else _decoder.decode(data)
        news: News = ""
        if course is None or not course.first_ms - pause_ms <= at_ms <= course.until_ms:
            if not told:
                return None
            course, news = _Course(alert_id, at_ms, at_ms, row.level, []), "first"
        course.first_ms = min(course.first_ms, at_ms)
        course.until_ms = max(course.until_ms, at_ms + pause_ms)
        if told:
            met = _meet(course, row.level, occurrence.agent)
            news = news or met
        self._cells.put(where, _encode(course), course.until_ms)
        return Incident(course.id, _shown(row, occurrence), news)

    def _where(self, row: RuleRow, occurrence: Occurrence) -> tuple[str, bytes]:
        """Rules with the same key fields share incidents; one without any has its own."""
        spec, table = row.window, occurrence.table
        names = () if spec is None else tuple(table.slots[slot] for slot in spec.key)
        key = b"" if spec is None else window_key(spec, occurrence) or b""
        whose = _encode(names or (row.id,))
        return f"incident:{table.name}", whose + key


def _meet(course: _Course, level: int, agent: str) -> News:
    """Take an alert's level and agent into it; what is new of them."""
    news: News = ""
    if agent not in course.agents:
        news = "agent"
        if len(course.agents) < AGENTS_MAX:
            course.agents.append(agent)
    if level > course.level:
        course.level, news = level, "level"
    return news


def _shown(row: RuleRow, occurrence: Occurrence) -> dict[str, str]:
    slots = () if row.window is None else row.window.key
    names = occurrence.table.slots
    return {
        names[slot].removeprefix("field:"): value.decode(errors="replace")
        for slot in slots
        if (value := occurrence.value(slot)) is not None
    }
