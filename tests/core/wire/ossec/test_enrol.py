import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossec_vectors import WEB01

from hids.core.wire.ossec.enrol import (
    EnrolRequest,
    answer,
    is_password,
    is_whole,
    read_answer,
    read_request,
    refusal,
    request,
)
from hids.errors import RemoteProtocolError

HASH = "a5c3a0f0" * 5


@pytest.mark.parametrize(
    ("received", "wanted"),
    [
        (b"OSSEC A:'web1'\n", EnrolRequest("web1")),
        (b"OSSEC PASS: secret OSSEC A:'web1'\n", EnrolRequest("web1", "secret")),
        (b"OSSEC PASS: secret\nOSSEC A:'web1'\n", EnrolRequest("web1", "secret")),
        (b"OSSEC PASS: secret\r\n OSSEC A:'web1'\r\n", EnrolRequest("web1", "secret")),
        (b"OSSEC PASS: two words OSSEC A:'web1'\n", EnrolRequest("web1", "two words")),
        (
            b"OSSEC A:'wzreal' V:'v4.14.7' G:'default,web' IP:'src' K:'" + HASH.encode() + b"'\n",
            EnrolRequest("wzreal", None, "v4.14.7", ("default", "web"), "src", HASH),
        ),
        (b"OSSEC A:'w1' IP:'10.0.0.0/8'\n", EnrolRequest("w1", ip="10.0.0.0/8")),
    ],
)
def test_requests(received: bytes, wanted: EnrolRequest):
    assert is_whole(received)
    assert read_request(received) == wanted
    assert not any(is_whole(received[:cut]) for cut in range(received.index(b"'", received.index(b"A:") + 3)))


@pytest.mark.parametrize(
    "received",
    [
        *(b"", b"\n", b"hello\n", b"OSSEC A:web1\n", b"OSSEC A:'a'\n", b"OSSEC A:'../../x'\n", b"OSSEC A:'.x'\n"),
        *(b"OSSEC A:'web1' G:'../x'\n", b"OSSEC A:'web1' IP:'here'\n"),
        b"OSSEC A:'web1' G:'" + b",".join([b"g"] * 129) + b"'\n",
        b"OSSEC A:'" + b"x" * 200 + b"'\n",
    ],
)
def test_what_is_refused(received: bytes):
    with pytest.raises(RemoteProtocolError):
        read_request(received)


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused(received: bytes):
    is_whole(received)
    for start in (b"", b"OSSEC A:'", b"OSSEC PASS: "):
        with contextlib.suppress(RemoteProtocolError):
            read_request(start + received)


def test_passwords():
    long = "x" * 40
    assert is_password("secret", EnrolRequest("w1", "secret"))
    assert not is_password("secret", EnrolRequest("w1", "secre"))
    assert not is_password("secret", EnrolRequest("w1"))
    assert not is_password(long, EnrolRequest("w1", long[:32]))
    assert is_password(long, EnrolRequest("w1", long[:32]), may_be_cut=True)


def test_answers():
    assert answer(WEB01).startswith(b"OSSEC K:'001 web01 any 0123")
    assert read_answer(answer(WEB01)) == WEB01
    assert refusal("Duplicate agent name: x\n\x1b") == b"ERROR: Duplicate agent name: x??. Unable to add agent\n\n"
    with pytest.raises(RemoteProtocolError, match="Duplicate"):
        read_answer(refusal("Duplicate agent name: x"))
    with pytest.raises(RemoteProtocolError, match="password"):
        read_answer(b"")
    with pytest.raises(RemoteProtocolError):
        read_answer(b"OSSEC K:'001 ../x any abc'")


def test_what_our_agent_asks_is_what_a_server_reads():
    assert read_request(request("web1", "secret\n")) == EnrolRequest("web1", "secret")
    assert request("web1") == b"OSSEC A:'web1'\n"
