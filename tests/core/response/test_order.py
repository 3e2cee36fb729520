"""Orders as bytes: what is packed is read, and what is none is named."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.response.order import CONTEXT, pack, target_of, to_sign, unpack
from hids.errors import RemoteProtocolError
from hids.messages.response import ResponseOrder

ORDER = ResponseOrder(id="a:b:1", agent="1", response="b", command="c", action="d", user="eve")


def test_packed_and_read():
    assert unpack(pack(ORDER)) == ORDER
    assert to_sign(b"x") == CONTEXT + b"x"
    assert target_of(ORDER) == "eve"


@given(st.binary(max_size=400))
def test_whatever_comes_is_an_order_or_refused(data: bytes):
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(unpack(data), ResponseOrder)


@pytest.mark.parametrize(
    "changes", [{"id": "x" * 257}, {"alert_json": b"x" * 65_537}, {"extra": ("x",) * 33}, {"until_ms": -1}]
)
def test_what_no_store_could_hold_is_refused(changes: dict[str, object]):
    members = msgspec.to_builtins(ORDER, builtin_types=(bytes,)) | changes
    with pytest.raises(RemoteProtocolError):
        unpack(msgspec.msgpack.encode(members))
