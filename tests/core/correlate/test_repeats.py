"""A log that equals one of the last three different ones is dropped."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import Cells
from hids.core.correlate.repeats import KEPT, NO_LOG, Repeats, log_digest


def batch(text: str) -> bytes:
    """One line a letter; a dash is no syslog event."""
    return b"".join(NO_LOG if letter == "-" else log_digest(letter.encode()) for letter in text)


def told(text: str, cells: Cells | None = None) -> str:
    dropped = Repeats(Cells() if cells is None else cells).offsets("test", batch(text), 0)
    return "".join("." if offset in dropped else letter for offset, letter in enumerate(text))


def test_repeats_are_dropped_and_do_not_stay_longer_for_it():
    assert told("aaba") == "a.b."
    assert told("abcdabcd") == "abcdabcd"
    assert told("abcabcabd") == "abc......"[:8] + "d"
    assert told("abcada") == "abc.da"


def test_what_is_no_syslog_event_is_not_compared():
    assert told("a--a--b") == "a--.--b"


def test_what_was_seen_survives_the_lane_and_belongs_to_a_ruleset():
    rows: dict[tuple[str, bytes], bytes] = {}
    cells = Cells(rows.get)
    assert told("ab", cells) == "ab"
    rows |= {where: data for where, (data, _) in cells.take_touched().items()}
    assert told("ba", Cells(rows.get)) == ".."
    assert Repeats(Cells(rows.get)).offsets("other", batch("ba"), 0) == frozenset()


@given(st.text("abcde-", max_size=40), st.integers(0, 40))
def test_as_the_naive_model_however_the_lines_are_cut_into_batches(text: str, cut: int):
    last: list[str] = []
    expected = ""
    for letter in text:
        repeated = letter in last
        expected += "." if repeated else letter
        if not repeated and letter != "-":
            last = [*last, letter][-KEPT:]
    cells = Cells()
    assert told(text[:cut], cells) + told(text[cut:], cells) == expected
