"""Cutting and decoding files that are not UTF-8."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect.encoding import Encoding, codec_of
from hids.errors import ConfigError

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(TEXT, min_size=1), st.sampled_from(["utf-16-le", "utf-16-be", "utf-8"]))
def test_what_was_written_is_read(lines: list[str], name: str):
    data = "\n".join(lines).encode(name)
    encoding = Encoding(name)
    pieces = encoding.cut(data)
    assert [encoding.text(piece).decode() for piece in pieces] == lines
    assert sum(map(len, pieces)) + (len(pieces) - 1) * encoding.unit == len(data)


@given(st.binary(max_size=60), st.sampled_from(["utf-16", "shift_jis", "cp1252", "utf-8", ""]))
def test_any_bytes_are_cut_without_loss(data: bytes, name: str):
    encoding = Encoding(name, data[:4])
    assert encoding.newline.join(encoding.cut(data)) == data
    for piece in encoding.cut(data):
        assert encoding.text(piece) == piece or name


def test_a_mark_decides_the_order_of_bytes():
    assert Encoding("utf-16", b"\xfe\xff\0a").codec == "utf-16-be"
    assert Encoding("utf-16", b"\xff\xfea\0").codec == "utf-16-le"
    assert Encoding("UTF16", b"").codec == "utf-16-le"
    assert Encoding("cp1252").text(b"\x80uro") == "€uro".encode()


@pytest.mark.parametrize("name", ["klingon", "base64", "utf-32", "rot13", "idna"])
def test_what_is_no_encoding_of_log_files(name: str):
    with pytest.raises(ConfigError, match="encoding"):
        codec_of(name)
