"""Which alerts an output of incidents tells."""

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hids.core.alert.incident import incident_of, only_news
from hids.messages.outputs import Incident


def with_incident(make_lines: Callable[..., bytes], number: int, news: str) -> bytes:
    about = {"id": "007-1-1", "key": {"srcip": "192.0.2.7"}, "news": news}
    return make_lines(number, hids={"number": number, "incident": about})


def test_an_alert_tells_its_incident(make_lines: Callable[..., bytes]):
    assert incident_of(with_incident(make_lines, 3, "agent")) == Incident("007-1-1", {"srcip": "192.0.2.7"}, "agent")
    assert incident_of(make_lines(3)) is None


def test_a_log_cannot_claim_to_be_part_of_one(make_lines: Callable[..., bytes]):
    claimed = json.dumps({"hids": {"incident": {"id": "x"}}}, separators=(",", ":"))
    assert incident_of(make_lines(3, full_log=claimed)) is None


@given(st.binary(max_size=60))
def test_whatever_is_no_alert_has_none(data: bytes):
    assert incident_of(b'"incident":{' + data) is None


def test_only_what_is_new_is_told(make_lines: Callable[..., bytes]):
    new = [with_incident(make_lines, number, news) for number, news in ((1, "first"), (3, "level"), (5, "agent"))]
    old = [make_lines(2), with_incident(make_lines, 4, "")]
    assert only_news(new[0] + old[0] + new[1] + old[1] + new[2]) == b"".join(new)
    assert only_news(b"".join(old)) == b""
