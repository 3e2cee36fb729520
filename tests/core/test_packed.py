import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hids.core import packed


def test_unpacks():
    assert packed.unpack(zstandard.ZstdCompressor().compress(b"text")) == b"text"


def test_size_is_looked_at_before_memory_is_taken():
    with pytest.raises(ValueError, match="unpacks to 1000 bytes, at most 999"):
        packed.unpack(zstandard.ZstdCompressor().compress(bytes(1000)), 999)


def test_frame_must_say_its_size():
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"text")
    with pytest.raises(ValueError, match="at most"):
        packed.unpack(stream)


@given(st.binary())
def test_nonsense_is_a_value_error(data: bytes):
    with pytest.raises(ValueError, match="unpack"):
        packed.unpack(data)
