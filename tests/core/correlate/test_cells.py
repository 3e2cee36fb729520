"""Small values behind a memory budget: whatever leaves memory is found again as it was."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import ROW_LIFE_MS, CellKey, Cells


class Store:
    """Holds what is committed."""

    def __init__(self) -> None:
        self.rows: dict[CellKey, bytes] = {}
        self.asked = 0

    def load(self, key: CellKey) -> bytes | None:
        self.asked += 1
        return self.rows.get(key)

    def commit(self, cells: Cells, state: dict[CellKey, tuple[bytes, int]]) -> None:
        self.rows.update({key: data for key, (data, _) in state.items()})
        cells.committed(state)


def key(number: int) -> CellKey:
    return ("kind", b"%d" % number)


def test_what_is_put_is_handed_over_once_with_the_time_until_which_it_lives():
    cells = Cells()
    cells.put(key(1), b"a", 1000)
    cells.put(key(2), b"b", 1000, life_ms=ROW_LIFE_MS + 5)
    assert cells.take_touched() == {key(1): (b"a", 1000), key(2): (b"b", 1005)}
    assert cells.take_touched() == {}


def test_what_is_in_memory_is_not_loaded():
    store = Store()
    cells = Cells(store.load)
    cells.put(key(1), b"", 0)
    assert cells.get(key(1)) == b""
    assert store.asked == 0
    assert cells.get(key(2)) is None
    assert store.asked == 1


def test_what_the_caller_holds_itself_takes_no_memory_but_is_found():
    store = Store()
    cells = Cells(store.load)
    cells.put(key(1), b"mine", 0, hold=False)
    assert len(cells) == 0
    assert cells.get(key(1)) == b"mine"
    store.commit(cells, cells.take_touched())
    assert store.rows == {key(1): b"mine"}


def test_an_older_commit_does_not_make_a_newer_value_forgotten():
    store = Store()
    cells = Cells(store.load, budget_bytes=0)
    cells.put(key(1), b"old", 0)
    first = cells.take_touched()
    cells.put(key(1), b"new", 0)
    second = cells.take_touched()
    store.commit(cells, first)
    assert cells.get(key(1)) == b"new"
    store.commit(cells, second)
    cells.take_touched()
    assert (len(cells), cells.bytes_held) == (0, 0)
    assert cells.get(key(1)) == b"new"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=9), st.booleans()), max_size=60),
    st.integers(0, 3000),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_a_budget_changes_nothing_but_memory(events: list[tuple[int, bytes, bool]], budget: int, commits: list[bool]):
    store = Store()
    small = Cells(store.load, budget)
    truth: dict[CellKey, bytes] = {}
    waiting: list[dict[CellKey, tuple[bytes, int]]] = []
    for (number, data, hold), commit in zip(events, commits, strict=False):
        small.put(key(number), data, 0, hold=hold)
        truth[key(number)] = data
        assert {where: small.get(where) for where in truth} == truth
        waiting.append(small.take_touched())
        assert small.bytes_held <= budget
        if commit:
            store.commit(small, waiting.pop(0))
