"""accumulate: events of one transaction lend each other fields."""

from hids.core.correlate.accumulate import FIELD_MAX, LENT, LIFE_S, Accumulator, own_fields
from hids.core.correlate.cells import Cells


def test_each_gets_what_it_lacks_and_keeps_what_it_has():
    accumulator = Accumulator(Cells())
    assert accumulator.lend("r", b"h d 7", {"srcip": b"192.0.2.1"}, 0) == {}
    assert accumulator.lend("r", b"h d 7", {"dstuser": b"ann"}, 1000) == {"srcip": b"192.0.2.1"}
    assert accumulator.lend("r", b"h d 7", {"srcip": b"192.0.2.2"}, 2000) == {"dstuser": b"ann"}
    assert accumulator.lend("r", b"h d 7", {}, 3000) == {"srcip": b"192.0.2.1", "dstuser": b"ann"}


def test_other_transactions_and_rulesets_get_nothing():
    accumulator = Accumulator(Cells())
    accumulator.lend("r", b"h d 7", {"srcip": b"192.0.2.1"}, 0)
    assert accumulator.lend("r", b"h d 8", {}, 0) == {}
    assert accumulator.lend("s", b"h d 7", {}, 0) == {}


def test_what_nobody_used_for_two_minutes_is_forgotten():
    accumulator = Accumulator(Cells())
    accumulator.lend("r", b"k", {"srcip": b"1"}, 0)
    assert accumulator.lend("r", b"k", {}, LIFE_S * 1000) == {"srcip": b"1"}
    assert accumulator.lend("r", b"k", {}, 2 * LIFE_S * 1000) == {"srcip": b"1"}
    assert accumulator.lend("r", b"k", {}, 3 * LIFE_S * 1000 + 1000) == {}


def test_only_some_fields_are_lent_and_long_ones_are_cut():
    fields = dict.fromkeys((*LENT, "id", "url"), b"x" * 200)
    assert own_fields(fields, "ossec") == dict.fromkeys(LENT, b"x" * FIELD_MAX)
    assert own_fields(fields, "wazuh").keys() == set(LENT) - {"extra_data"}
    assert own_fields({"srcip": b""}, "ossec") == {}
