"""different_* and not_same_*: what must differ between the event that asks and a past one."""

import pytest

from hids.core.correlate.differences import Values, compares, differ, slots_of
from hids.messages.rule_table import WindowSpec


def spec(**members: object) -> WindowSpec:
    return WindowSpec(needed=1, timeframe_ms=1, key=(), **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "past", "answer"),
    [((b"a",), (b"b",), True), ((b"a",), (b"a",), False), ((None,), (b"a",), True), ((None,), (None,), True)],
)
def test_what_is_missing_differs(now: Values, past: Values, *, answer: bool):
    assert differ(spec(different=(3,)), now, past) is answer


@pytest.mark.parametrize(
    ("now", "past", "answer"),
    [((b"a",), (b"b",), True), ((b"a",), (b"a",), False), ((None,), (b"a",), False), ((b"a",), (None,), False)],
)
def test_as_ossec_has_it_both_must_be_there(now: Values, past: Values, *, answer: bool):
    assert differ(spec(different_present=(3,)), now, past) is answer


def test_each_of_several_must_differ():
    two = spec(different=(1, 2))
    assert slots_of(two) == (1, 2)
    assert differ(two, (b"a", b"x"), (b"b", b"y"))
    assert not differ(two, (b"a", b"x"), (b"b", b"x"))


def test_of_two_events_without_any_dynamic_field_none_differs():
    dynamic = spec(different=(1,), dynamic=5)
    assert slots_of(dynamic) == (1, 5)
    assert not differ(dynamic, (None, None), (None, None))
    assert differ(dynamic, (None, b"1"), (None, None))
    assert differ(dynamic, (None, None), (b"a", b"1"))
    assert not differ(dynamic, (b"a", b"1"), (b"a", b"1"))


def test_most_rules_compare_nothing():
    assert not compares(spec())
    assert compares(spec(different=(0,)))
    assert compares(spec(different_present=(0,)))
