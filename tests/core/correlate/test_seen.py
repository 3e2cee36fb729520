"""A bounded set of strings that are forgotten after a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import Cells
from hids.core.correlate.seen import BUCKET_SIZE, Seen

MINUTE_MS = 60_000
LIFE_MS = 100 * MINUTE_MS


def test_what_was_noted_is_there_until_its_life_is_over():
    seen = Seen(Cells(), "test", LIFE_MS)
    assert not seen.has(b"key", 0)
    seen.add(b"key", 0)
    assert seen.has(b"key", 10 * MINUTE_MS)
    assert not seen.has(b"other", 0)
    assert not seen.has(b"key", LIFE_MS + MINUTE_MS)


def test_what_is_met_again_does_not_grow_old():
    seen = Seen(Cells(), "test", LIFE_MS)
    seen.add(b"key", 0)
    assert all(seen.has(b"key", at * MINUTE_MS) for at in range(0, 1000, 50))


def test_sets_of_different_names_are_strangers():
    cells = Cells()
    Seen(cells, "one", LIFE_MS).add(b"key", 0)
    assert not Seen(cells, "two", LIFE_MS).has(b"key", 0)


def test_a_flood_of_keys_fills_neither_memory_nor_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.core.correlate.seen.BUCKETS", 16)
    cells = Cells()
    seen = Seen(cells, "test", LIFE_MS)
    for number in range(20 * BUCKET_SIZE):
        seen.add(b"%d" % number, 0)
    rows = cells.take_touched()
    assert len(rows) == 16
    assert all(len(data) <= BUCKET_SIZE * 20 for data, _ in rows.values())
    assert seen.has(b"%d" % (20 * BUCKET_SIZE - 1), 0)


def test_a_full_bucket_forgets_what_was_noted_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.core.correlate.seen.BUCKETS", 1)
    seen = Seen(Cells(), "test", LIFE_MS)
    for number in range(BUCKET_SIZE + 1):
        seen.add(b"%d" % number, 0)
    assert [seen.has(b"%d" % number, 0) for number in (0, 1, BUCKET_SIZE)] == [False, True, True]


@given(st.lists(st.tuples(st.binary(max_size=3), st.booleans()), max_size=50))
def test_as_a_set_of_python_after_any_commits(steps: list[tuple[bytes, bool]]):
    rows: dict[tuple[str, bytes], bytes] = {}
    model: set[bytes] = set()
    cells = Cells(rows.get)
    for text, anew in steps:
        seen = Seen(cells, "test", LIFE_MS)
        assert seen.has(text, 0) is (text in model)
        seen.add(text, 0)
        model.add(text)
        rows |= {where: data for where, (data, _) in cells.take_touched().items()}
        if anew:
            cells = Cells(rows.get)
