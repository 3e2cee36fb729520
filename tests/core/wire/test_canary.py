"""A canary is read back as it was made; nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.canary import Canary, parse, signed, unsigned


def test_round():
    text = unsigned("007", 1_700_000_000_000)
    assert parse(signed(text, b"\x01\xff" * 32)) == Canary("007", 1_700_000_000_000, text, b"\x01\xff" * 32)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"hids-canary: ", b"hids-canary: 007 5", b"hids-canary: 007 5 zz" + b"0" * 20),
        *(b"hids-canary: 007 5 " + b"0" * 17, b"x hids-canary: 007 5 " + b"0" * 64, b"hids-canary: 7 5 " + b"0" * 64),
        b"hids-canary: 007 5 " + b"0" * 1000,
    ],
)
def test_what_is_none(line: bytes):
    assert parse(line) is None


@given(st.binary(max_size=600))
def test_nothing_raises(line: bytes):
    parse(b"hids-canary: " + line)
