"""Which events are taken, labels, and out_format."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect.shape import Place, Shape, output_front
from hids.errors import ConfigError

PLACE = Place("/var/log/x", "web1", "10.0.0.1")
NOW_MS = 1_795_500_000_000


def test_restrict_and_ignore():
    shape = Shape(restrict=["a", "b"], ignore=["^no"])
    assert [event for event in (b"a", b"xb", b"c", b"no a") if shape.apply(event, PLACE, 0)] == [b"a", b"xb"]
    assert Shape().is_plain
    assert not shape.is_plain


def test_labels_become_members_of_json_objects():
    shape = Shape(labels={"app": 'sh"op'})
    labelled = shape.apply(b' {"a": 1}', PLACE, 0)
    assert labelled is not None
    assert json.loads(labelled) == {"app": 'sh"op', "a": 1}
    assert shape.apply(b"{ }", PLACE, 0) == b'{"app": "sh\\"op"}'
    assert shape.apply(b"not json", PLACE, 0) == b"not json"


def test_out_format():
    text = "$(hostname) $(host_ip) $(location) [$(log)] $(base64_log) $(timestamp %Y) $(x"
    made = Shape(out_format=text).apply(b"a\xff", PLACE, NOW_MS)
    assert made == b"web1 10.0.0.1 /var/log/x [a\xff] " + base64.b64encode(b"a\xff") + b" 2026 $(x"
    assert Shape(out_format='{"m":"$(json_escaped_log)"}').apply(b'"\n', PLACE, 0) == b'{"m":"\\"\\n"}'
    assert len(Shape(out_format="$(timestamp)").apply(b"x", PLACE, NOW_MS) or b"") == len("Nov 24 00:00:00")


def test_what_a_command_printed_is_without_what_is_put_in_front_of_it():
    shape, place = Shape(out_format="$(printed)"), Place("command_x'y", "web1", "")
    assert shape.apply(output_front("command_x'y") + b' {"a": 1}', place, 0) == b'{"a": 1}'
    assert shape.apply(output_front("command_x'y") + b"\na\nb", place, 0) == b"a\nb"
    assert shape.apply(b"ossec: output: 'other': x", place, 0) == b"ossec: output: 'other': x"


@pytest.mark.parametrize("options", [{"out_format": "$(nothing)"}, {"ignore": ["["]}, {"restrict": ["("]}])
def test_what_makes_no_sense_is_refused(options: dict[str, object]):
    with pytest.raises(ConfigError):
        Shape(**options)  # type: ignore[arg-type]


@given(st.binary(max_size=50))
def test_any_bytes(event: bytes):
    shape = Shape(labels={"a": "b"}, out_format="$(json_escaped_log)$(log)$(base64_log)", ignore=["z"])
    made = shape.apply(event, PLACE, NOW_MS)
    assert made is None or isinstance(made, bytes)
