"""JSON means the same after what terminals obey was escaped."""

import json

from hypothesis import given
from sample_alerts import NASTY, alert

from hids.core.alert.forms.jsonline import as_it_is, jsonline
from hids.core.alert.view import smaller, view


@given(NASTY)
def test_it_is_the_same_json_without_what_a_terminal_obeys(text: str):
    line = alert(full_log=text, location=text)
    shown = as_it_is(line)
    assert json.loads(shown) == json.loads(line)
    assert not any(c in shown for c in "\n\r\x1b\x7f\x9b\u2028\u202e")


def test_what_is_left_of_a_large_one_is_still_json():
    line = alert(full_log="x" * 10_000, previous_output="y" * 10_000, data={"url": "z" * 10_000})
    sizes = [len(jsonline(less)) for less in smaller(view(line))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1_000
    assert json.loads(jsonline(list(smaller(view(line)))[-1]))["id"] == "007-1-17"
