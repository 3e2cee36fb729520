import pytest

from hids.core.decode.event import Event
from hids.core.decode.header import Header
from hids.core.decode.reading import Reading
from hids.core.dialect import Dialect
from hids.core.rules.compiled import COMPILED
from hids.messages.lines import LogLine


def event(log: bytes = b"", dialect: Dialect = "ossec", **fields: bytes) -> Event:
    reading = Reading(log, dialect, rewrites=False, _all=fields)
    return Event(LogLine("f", log, 0, 0), Header(None, None, None, log, log), reading)


@pytest.mark.parametrize(
    ("name", "given", "holds"),
    [
        ("check_id_size", event(id=b"1234567890"), True),
        ("check_id_size", event(id=b"123456789"), False),
        ("check_id_size", event(), False),
        ("comp_srcuser_dstuser", event(srcuser=b"a", dstuser=b"a"), True),
        ("comp_srcuser_dstuser", event(srcuser=b"a", dstuser=b"b"), False),
        ("comp_srcuser_dstuser", event(srcuser=b"a"), True),
        ("is_simple_http_request", event(url=b"/"), True),
        ("is_simple_http_request", event(url=b"/a"), True),
        ("is_simple_http_request", event(url=b"/a?b"), False),
        ("is_simple_http_request", event(), False),
        ("is_simple_http_request", event(url=b"/a", action=b"GET"), True),
        ("is_simple_http_request", event(url=b"/a", action=b"POST"), False),
        ("is_simple_http_request", event(url=b"/a", action=b"POST", dialect="wazuh"), True),
        ("is_valid_crawler", event(b"66.249.66.1 - - [x]"), True),
        ("is_valid_crawler", event(b"192.0.2.7 66.249.66.1"), False),
    ],
)
def test_questions_that_are_code(name: str, given: Event, *, holds: bool) -> None:
    assert COMPILED[name](given) is holds


@pytest.mark.parametrize(
    ("log", "differ"),
    [
        (b"Target User Name: joe  Caller User Name: ann  x", True),
        (b"Target User Name:\tjoe\tCaller User Name:\tjoe", False),
        (b"Caller User Name: joe  Target User Name: joe smith  ", True),
        (b"Target User Name: joe", False),
    ],
)
def test_windows_users(log: bytes, *, differ: bool) -> None:
    assert COMPILED["comp_mswin_targetuser_calleruser_diff"](event(log)) is differ
