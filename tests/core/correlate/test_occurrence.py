"""Values of an event as windows keep them."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.occurrence import SHORT, Occurrence, short
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleTable

TABLE = RuleTable("h", "test", ("id", "log", "srcip"), ())


def occurrence(*values: bytes | None) -> Occurrence:
    return Occurrence(TABLE, EventOut(0, 7, 0, 0, values, b"", b""), "001")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_short_forms_are_equal_only_when_the_values_are(one: bytes, other: bytes):
    assert (short(one) == short(other)) is (one == other)
    assert len(short(one)) <= SHORT + 1
    assert short(short(one)) != short(one) or len(one) <= SHORT


def test_a_slot_by_number_is_short_by_name_is_whole():
    long = b"x" * 1000
    event = occurrence(b"1", long, None)
    assert event.at_ms == 7
    assert event.values((0, 2)) == (b"1", None)
    assert event.value(1) == short(long)
    assert event.whole("log") == long
    assert event.whole("srcip") is None
    assert event.whole("not a slot of this set") is None
