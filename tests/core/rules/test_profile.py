from collections.abc import Callable
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from hids.core.rules.profile import MAX_BYTES, SAMPLE_EVERY, Figure, Profile
from hids.core.rules.rule import Ruleset
from hids.messages.lines import LogLine

TEXT = """
<decoder name="other"><program_name>^other$</program_name></decoder>
<decoder name="app"><program_name>^app$</program_name></decoder>
<group name="g">
  <rule id="200100" level="3"><decoded_as>other</decoded_as><description>d</description></rule>
  <rule id="200101" level="3"><decoded_as>app</decoded_as><description>d</description></rule>
  <rule id="200102" level="5"><if_sid>200101</if_sid><match>x</match><description>d</description></rule>
</group>
"""


def profile(make_ruleset: Callable[..., Ruleset]) -> Profile:
    return Profile((make_ruleset(TEXT),), count(step=10).__next__)


def test_each_look_is_counted_and_timed(make_ruleset: Callable[..., Ruleset]) -> None:
    sample = profile(make_ruleset)
    for text in (b"Dec 29 10:00:01 h app: x", b"Dec 29 10:00:01 h app: y"):
        sample.look(LogLine("x", text, 0, 0), b"h")
    (figures,) = sample.figures
    assert figures.sampled == 2
    assert figures.decoders == {"other": Figure(2, 0, 20), "app": Figure(2, 2, 20)}
    assert figures.rules == {200100: Figure(2, 0, 20), 200101: Figure(2, 2, 20), 200102: Figure(2, 1, 20)}


def test_a_long_line_is_left_out(make_ruleset: Callable[..., Ruleset]) -> None:
    sample = profile(make_ruleset)
    sample.look(LogLine("x", b"x" * (MAX_BYTES + 1), 0, 0), b"h")
    assert sample.figures[0].sampled == 0


@given(st.lists(st.integers(0, 1000), max_size=50))
def test_one_line_in_so_many_however_they_come(batches: list[int]) -> None:
    sample = Profile((), lambda: 0)
    due, before = [], 0
    for lines in batches:
        due += [before + offset for offset in sample.due(lines)]
        before += lines
    assert due == list(range(SAMPLE_EVERY - 1, before, SAMPLE_EVERY))
