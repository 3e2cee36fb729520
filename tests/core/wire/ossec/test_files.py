import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.control import MARK, read_from_manager
from hids.core.wire.ossec.files import (
    CHUNK,
    MAX_FILE_BYTES,
    Pushed,
    Receiver,
    check_pushable,
    is_plain,
    md5_of,
    merge,
    push,
    split_merged,
)
from hids.errors import ConfigError, RemoteProtocolError


def received(payloads: list[bytes]) -> Pushed | None:
    receiver, result = Receiver(), None
    for payload in payloads:
        if not payload.startswith(MARK):
            receiver.add(payload)
            continue
        what, rest = read_from_manager(payload)
        if what == "up":
            receiver.up(rest)
        else:
            result = receiver.close()
    return result


def test_a_merged_file():
    merged = b"!12 a.conf\nhello world\n!3 b.txt\nabc"
    assert merge({"b.txt": b"abc", "a.conf": b"hello world\n"}) == merged
    assert md5_of(merged) == "cc7320696020f28572812ed61a689279"
    assert split_merged(b"#web\n" + merged) == {"a.conf": b"hello world\n", "b.txt": b"abc"}


texts = st.one_of(
    st.binary(max_size=3 * CHUNK), st.lists(st.sampled_from([b"#!-", b"#", b"a" * 450, b"!-"])).map(b"".join)
)


@given(texts, st.sampled_from([CHUNK, 7, 50_000]))
def test_a_push_arrives_and_no_chunk_is_taken_for_a_command(content: bytes, chunk: int):
    content = b"!" + content
    payloads = list(push("merged.mg", content, chunk))
    assert all(0 < len(payload) <= chunk and not payload.startswith(MARK) for payload in payloads[1:-1])
    assert received(payloads) == Pushed("merged.mg", content)


def test_a_chunk_that_was_lost_or_changed_is_noticed():
    payloads = list(push("merged.mg", b"!" + b"x" * 2000))
    assert received([*payloads[:2], *payloads[3:]]) is None
    assert received([payloads[0], b"y" + payloads[1][1:], *payloads[2:]]) is None
    assert received([payloads[-1]]) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:\\x",
            "..",
            ".",
            ".hidden",
            "",
            "a" * 129,
            "nul",
            "COM1.txt",
            "a\0b",
        ),
        *("é", "a b"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str):
    assert not is_plain(name)
    with pytest.raises(RemoteProtocolError):
        Receiver().up(f"{'0' * 32} {name}\n".encode())
    with pytest.raises(RemoteProtocolError):
        split_merged(f"!1 {name}\nx".encode())
    with pytest.raises(ConfigError):
        merge({name: b"x"})


@pytest.mark.parametrize(
    "merged", [b"!9 a.conf\nshort", b"!-1 a.conf\nx", b"!99999999999 a\nx", b"!1 a.c\nx!1 A.C\ny", b"!1 \nx", b"!"]
)
def test_merged_files_that_do_not_add_up_are_refused(merged: bytes):
    with pytest.raises(RemoteProtocolError):
        split_merged(merged)


@given(st.binary())
def test_any_merged_file_ends(merged: bytes):
    with contextlib.suppress(RemoteProtocolError):
        split_merged(merged)


def test_what_agents_would_not_receive_is_not_pushed():
    for content in (b"a\0b", b"#!-execd x", bytes(MAX_FILE_BYTES + 1)):
        with pytest.raises(ConfigError):
            check_pushable("a.conf", content)


def test_a_receiver_is_bounded():
    receiver = Receiver()
    with pytest.raises(RemoteProtocolError):
        receiver.add(b"x")
    receiver.up(f"{'0' * 32} merged.mg\n".encode())
    receiver.add(bytes(MAX_FILE_BYTES))
    with pytest.raises(RemoteProtocolError):
        receiver.add(b"x")
    assert not receiver.is_open
