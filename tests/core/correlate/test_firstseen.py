"""if_fts: keys are new once; of many similar keys of type ids only the first few are."""

import pytest

from hids.core.correlate.cells import DAY_MS, Cells
from hids.core.correlate.firstseen import NEWEST_KEPT, FirstSeen
from hids.core.correlate.occurrence import Occurrence
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleTable

TABLE = RuleTable("h", "test", ("fts", "fts_ids"), ())
LIFE_MS = 30 * DAY_MS


class Bench:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.start()

    def start(self) -> None:
        self.cells = Cells(self.rows.get)
        self.first = FirstSeen(self.cells, LIFE_MS)

    def ask(self, key: bytes | None, at_ms: int = 0, *, ids: bool = False, table: RuleTable = TABLE) -> bool:
        slots = (key, b"1" if ids else None)
        answer = self.first.ask(Occurrence(table, EventOut(0, at_ms, 0, 0, slots, b"", b""), "001"))
        self.rows |= {where: data for where, (data, _) in self.cells.take_touched().items()}
        return answer


def test_a_key_is_new_once():
    bench = Bench()
    assert [bench.ask(key) for key in (b"p joe", b"p joe", b"p ann", b"p joe")] == [True, False, True, False]


def test_an_event_without_a_key_is_never_new():
    bench = Bench()
    assert [bench.ask(None), bench.ask(None)] == [False, False]


def test_a_lane_that_starts_anew_knows_the_same_keys():
    bench = Bench()
    bench.ask(b"p joe")
    bench.start()
    assert not bench.ask(b"p joe")


def test_rulesets_do_not_share_keys():
    bench = Bench()
    bench.ask(b"p joe")
    assert bench.ask(b"p joe", table=RuleTable("h", "other", TABLE.slots, ()))


def test_a_key_that_nobody_showed_for_long_is_new_again():
    bench = Bench()
    bench.ask(b"p joe")
    assert not bench.ask(b"p joe", LIFE_MS)
    assert not bench.ask(b"p joe", 2 * LIFE_MS)
    assert bench.ask(b"p joe", 3 * LIFE_MS + DAY_MS)


@pytest.mark.parametrize("anew", [False, True])
def test_of_similar_keys_of_type_ids_three_are_new_then_what_they_share_then_none(*, anew: bool):
    bench = Bench()
    answers: list[bool] = []
    for number in range(8):
        answers.append(bench.ask(b"p abcdefghijklmnop 10.0.0.%d" % number, ids=True))
        if anew:
            bench.start()
    assert answers == [True] * 4 + [False] * 4
    assert bench.ask(b"p something else", ids=True)


def test_of_other_types_similar_keys_are_all_new():
    bench = Bench()
    assert all(bench.ask(b"p abcdefghijklmnop 10.0.0.%d" % number) for number in range(8))


def test_similar_keys_are_looked_for_among_the_newest_only():
    bench = Bench()
    for number in range(3):
        bench.ask(b"a common beginning %d" % number, ids=True)
    for number in range(NEWEST_KEPT - 2):
        bench.ask(b"%d different" % number, ids=True)
    assert bench.ask(b"a common beginning 4", ids=True)
    assert bench.ask(b"a common beginning 5", ids=True)
