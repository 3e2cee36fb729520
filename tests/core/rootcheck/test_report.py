"""How a scan ends: all findings are named, in lines that fit, and read again."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.rootcheck.report import ENDING, MAX_PARTS, STARTING, endings, understand
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=20),
    st.integers(0, 9),
    st.lists(st.text("ab")),
)
def test_what_is_said_is_understood(seen: list[str], excepted: int, unfinished: list[str]):
    said = [understand(line) for line in endings(seen, excepted, unfinished)]
    assert [text for each in said for text in each.ending.seen] == seen
    assert all(each.what == "ending" for each in said)
    assert (said[-1].ending.part, said[-1].ending.excepted) == (said[-1].ending.parts, excepted)
    assert list(said[-1].ending.unfinished) == unfinished


def test_many_findings_go_in_several_lines_that_fit():
    lines = endings(['"' * 4_000] * 5_000, 0, ())
    assert 1 < len(lines) <= MAX_PARTS < MAX_BATCH_LINES
    assert max(map(len, lines)) <= MAX_LINE_BYTES


def test_what_others_say():
    assert understand(STARTING).what == "starting"
    assert understand(ENDING) == understand(ENDING + b" {}")
    assert understand(ENDING + b" {broken").what == "ending"
    assert understand(b"Ending syscheck scan.").what == "other"
    assert understand(b"Rootkit \xff").text == "Rootkit \\xff"


@given(st.binary(max_size=100))
def test_any_bytes_are_understood(text: bytes):
    understand(text)
    understand(ENDING + text)
