"""Windows behind a memory budget: whatever leaves memory is found again as it was."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.window import Entry, Window
from hids.core.correlate.windows import IDLE_S, WindowKey, Windows

NEEDED = 3


def key(number: int) -> WindowKey:
    return ("identity", b"key %d" % number)


def touch(windows: Windows, where: WindowKey, at_ms: int) -> Window:
    window = windows.get(where)
    before = Windows.cost(window)
    window.insert(Entry(at_ms, b"x" * 50), NEEDED)
    windows.changed(where, before)
    return window


class Store:
    """Holds what is committed; counts how often it is asked."""

    def __init__(self) -> None:
        self.rows: dict[WindowKey, bytes] = {}
        self.asked = 0

    def load(self, where: WindowKey) -> bytes | None:
        self.asked += 1
        return self.rows.get(where)

    def commit(self, windows: Windows, state: dict[WindowKey, tuple[bytes, int]]) -> None:
        self.rows.update({where: data for where, (data, _) in state.items()})
        windows.committed(state)


def test_a_window_that_is_held_is_not_loaded_again():
    store = Store()
    windows = Windows(store.load, 1_000_000)
    first = touch(windows, key(1), 5)
    assert windows.get(key(1)) is first
    assert store.asked == 1


def test_only_what_changed_is_handed_over_once():
    windows = Windows(Store().load, 1_000_000)
    touch(windows, key(1), 5)
    windows.get(key(2))
    taken = windows.take_touched(0.0)
    assert taken == {key(1): (windows.get(key(1)).dump(), 5)}
    assert windows.take_touched(0.0) == {}


def test_the_least_recently_used_leave_when_memory_is_short():
    store = Store()
    windows = Windows(store.load, 4 * 600)
    for number in range(10):
        touch(windows, key(number), number)
    store.commit(windows, windows.take_touched(0.0))
    assert windows.spilled == 10 - len(windows)
    assert windows.bytes_held <= 4 * 600
    asked = store.asked
    windows.get(key(9))
    assert store.asked == asked
    assert len(windows.get(key(0))) == 1
    assert store.asked == asked + 1


def test_a_window_that_left_before_its_commit_is_not_taken_from_the_older_state():
    store = Store()
    windows = Windows(store.load, 0)
    touch(windows, key(1), 1)
    first = windows.take_touched(0.0)
    touch(windows, key(1), 2)
    second = windows.take_touched(0.0)
    assert len(windows.get(key(1))) == 2
    store.commit(windows, first)
    assert len(windows.get(key(1))) == 2
    store.commit(windows, second)
    windows.take_touched(0.0)
    assert len(windows.get(key(1))) == 2


def test_what_nobody_touches_for_long_leaves_memory_and_is_not_counted_as_spilled():
    store = Store()
    windows = Windows(store.load, 1 << 30)
    touch(windows, key(1), 1)
    store.commit(windows, windows.take_touched(0.0))
    windows.take_touched(IDLE_S - 1)
    touch(windows, key(2), 1)
    store.commit(windows, windows.take_touched(IDLE_S))
    assert (len(windows), windows.spilled) == (1, 0)
    assert len(windows.get(key(1))) == 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=60),
    st.integers(0, 3000),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_a_budget_changes_nothing_but_memory(events: list[tuple[int, int]], budget: int, commits: list[bool]):
    """Any events, any budget, commits that lag: the same windows as with all the memory in the world."""
    store = Store()
    small, large = Windows(store.load, budget), Windows(lambda _: None, 1 << 30)
    waiting: list[dict[WindowKey, tuple[bytes, int]]] = []
    for (number, at_ms), commit in zip(events, commits, strict=False):
        touch(large, key(number), at_ms)
        touch(small, key(number), at_ms)
        assert small.get(key(number)).dump() == large.get(key(number)).dump()
        waiting.append(small.take_touched(float(at_ms * 100)))
        assert small.bytes_held <= budget
        if commit:
            store.commit(small, waiting.pop(0))
    assert large.spilled == 0
