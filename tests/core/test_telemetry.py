"""[telemetry]: what is wrong is named, a secret never goes in clear, and no header begins another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.telemetry import Telemetry, headers_of


@pytest.mark.parametrize(
    ("endpoint", "headers", "complaint"),
    [
        ("", "", None),
        ("https://c.example.org:4318/v1/metrics", "/etc/hids/otel", None),
        ("http://c.example.org:4318/v1/metrics", "", None),
        ("http://127.0.0.1:4318/v1/metrics", "/etc/hids/otel", None),
        ("http://c.example.org:4318/v1/metrics", "/etc/hids/otel", "a secret goes along"),
        ("http://127.0.0.1.example.org/v1/metrics", "/etc/hids/otel", "a secret goes along"),
        ("c.example.org:4318", "", "expected"),
        ("https://me:secret@c.example.org/", "", "without a password"),
    ],
)
def test_endpoints(endpoint: str, headers: str, complaint: str | None):
    problem = Telemetry(endpoint=endpoint, headers_file=headers).problem()
    assert problem is None if complaint is None else complaint in str(problem)


def test_headers_are_read():
    assert headers_of("A: b: c\n\nX-Y:\tz \n") == {"A": "b: c", "X-Y": "z"}


@pytest.mark.parametrize("text", ["A", "A b: c", ": c", "A: \x00", "A: ä", " A: b"])
def test_what_is_no_header_is_refused(text: str):
    with pytest.raises(ValueError, match="line 1"):
        headers_of(text)


@given(st.text(max_size=80))
def test_no_value_can_begin_another_header(text: str):
    try:
        headers = headers_of(text)
    except ValueError:
        return
    assert not any(c in "\r\n" for pair in headers.items() for c in "".join(pair))
