"""Grouping lines into events: whatever the cuts, every line is in exactly one group, in order."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect.formats import grouping_of
from hids.core.collect.grouping import MAX_GROUP, Grouping
from hids.messages.lines import MAX_LINE_BYTES

NAMES = ["multi-line:3", "multi-line_indented", "audit", "mysql_log", "postgresql_log", "modsec-audit", "snort-full"]
PIECES = [
    *(b"", b"x", b"\tx", b" y", b"[**] [1:2:3] a", b"--ab12-A--", b"--ab12-Z--", b"2026-11-24 03:21:43 a"),
    *(b"type=A msg=audit(1.2:3): a", b"type=B msg=audit(1.2:3): b", b"type=A msg=audit(1.2:4): c"),
]


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(PIECES) | st.binary(max_size=9), max_size=40), st.data())
def test_reading_in_two_steps_gives_the_groups_of_reading_at_once(name: str, lines: list[bytes], data: st.DataObject):
    grouping = grouping_of(name)
    assert grouping is not None
    whole = list(grouping.groups(lines, over=True))
    assert sum(group.lines for group in whole) == len(lines)
    cut = data.draw(st.integers(0, len(lines)))
    first = list(grouping.groups(lines[:cut], over=False))
    done = sum(group.lines for group in first)
    assert [*first, *grouping.groups(lines[done:], over=True)] == whole


def test_what_has_no_end_becomes_events_of_bounded_size():
    grouping = Grouping(begins=lambda _, line: line == b"never")
    groups = list(grouping.groups([b"x" * 1000] * 200, over=True))
    assert sum(group.lines for group in groups) == 200
    assert all(len(event) <= MAX_LINE_BYTES for group in groups for event in group.events)
    assert [group.lines for group in grouping.groups([b""] * (MAX_GROUP + 1), over=True)] == [MAX_GROUP, 1]
