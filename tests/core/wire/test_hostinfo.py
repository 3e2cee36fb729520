import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.facts import facts_of
from hids.core.wire.hostinfo import host_line
from hids.messages.lines import MAX_LINE_BYTES, LogLine


def line(text: bytes) -> LogLine:
    return LogLine("/var/log/nmap", text, 1, 2)


def test_a_host_and_its_ports():
    told = host_line(line(b"Host: 192.0.2.1 (web1), open ports: 22(tcp) 80(tcp)"))
    assert (told.kind, told.location, told.at_ms) == ("syscheck", "/var/log/nmap", 1)
    (fact,) = facts_of(told.text)
    assert (fact.path, fact.kind, fact.target, fact.seen) == ("192.0.2.1 (web1)", "host", "22(tcp) 80(tcp)", "live")


@pytest.mark.parametrize("text", [b"", b"Host: a", b"Host: a b, open ports: 1", b"xHost: a (), open ports: 1"])
def test_another_line_stays_as_it_is(text: bytes):
    assert host_line(line(text)) == line(text)


@given(st.binary(max_size=300))
def test_any_bytes(ports: bytes):
    (fact,) = facts_of(host_line(line(b"Host: 192.0.2.1 (), open ports: " + ports)).text)
    assert fact.path == "192.0.2.1 ()"


def test_what_is_too_long_for_a_line_is_survived():
    told = host_line(line((b"Host: 192.0.2.1 (), open ports: " + b"22(tcp) " * 10_000)[:MAX_LINE_BYTES]))
    try:
        assert facts_of(told.text)
    except msgspec.MsgspecError:
        pytest.fail("a fact that cannot be read")
