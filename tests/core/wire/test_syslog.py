"""Syslog from the network: framing, and the line that comes of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.syslog import MAX_MESSAGE, SyslogStream, to_text
from hids.errors import RemoteProtocolError
from hids.messages.lines import MAX_LINE_BYTES

NOW_MS = 1_795_490_503_123


@given(
    st.lists(st.binary(min_size=1, max_size=40).filter(lambda text: not set(text) & {10, 0, 13})),
    st.lists(st.booleans()),
    st.lists(st.integers(1, 30)),
)
def test_messages_are_the_same_however_they_are_framed_and_cut(
    texts: list[bytes], counted: list[bool], cuts: list[int]
):
    messages = [b"<34>" + text for text in texts]
    counts = (counted + [False] * len(messages))[: len(messages)]
    data = b"".join(
        b"%d %s" % (len(message), message) if count else message + b"\n"
        for message, count in zip(messages, counts, strict=True)
    )
    stream, got = SyslogStream(), []
    for cut in [*cuts, len(data) + 1]:
        got += stream.feed(data[:cut])
        data = data[cut:]
    assert got + stream.end() == messages


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_cut_within_bounds(pieces: list[bytes]):
    stream = SyslogStream()
    for piece in pieces:
        try:
            for message in stream.feed(piece):
                assert 0 < len(message) <= MAX_LINE_BYTES
        except RemoteProtocolError:
            return
    stream.end()


def test_a_message_without_an_end_is_cut_and_the_next_one_is_whole():
    stream = SyslogStream()
    assert stream.feed(b"<1>" + b"x" * (MAX_LINE_BYTES - 4)) == []
    assert [len(message) for message in stream.feed(b"xyz")] == [MAX_LINE_BYTES]
    assert stream.feed(b"5 <more of it" * 10_000) == []
    assert stream.feed(b"\n<2>next\n") == [b"<2>next"]
    long = b"<3>" + b"y" * MAX_LINE_BYTES
    assert [len(message) for message in stream.feed(b"%d %s" % (len(long), long))] == [MAX_LINE_BYTES]


def test_a_count_that_is_too_large_ends_the_connection():
    with pytest.raises(RemoteProtocolError, match="at most"):
        SyslogStream().feed(b"%d <" % (MAX_MESSAGE + 1))


def test_a_line_that_begins_with_digits_is_no_count():
    assert SyslogStream().feed(b"2026-11-24 x\n12 monkeys\n7\n") == [b"2026-11-24 x", b"12 monkeys", b"7"]
    stream = SyslogStream()
    assert stream.feed(b"7") == []
    assert stream.feed(b" <1>abcd") == [b"<1>abcd"]
    stream.feed(b"90 <1>half")
    assert stream.end() == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"<34>Nov 24 03:21:43 web1 su: text \xff", b"Nov 24 03:21:43 web1 su: text \xff"),
        (b"no priority", b"no priority"),
        (b"<34>", b""),
        (
            b'<34>1 2026-11-24T03:21:43.003Z web1 su 77 ID47 [x@9 a="b\\]"][y] \xef\xbb\xbftext',
            b'2026-11-24T03:21:43.003Z web1 su[77]: [x@9 a="b\\]"][y] text',
        ),
        (b"<34>1 2026-11-24T03:21:43+01:00 web1 su - - - text", b"2026-11-24T03:21:43+01:00 web1 su: text"),
        (b"<34>1 - - - - - - text", b"2026-11-24T03:21:43+00:00 localhost unknown: text"),
        (b"<34>1 - - - 7 LOGIN -", b"2026-11-24T03:21:43+00:00 localhost LOGIN[7]:"),
        (b'<34>1 - h p - - [never ends="', b'1 - h p - - [never ends="'),
        (b"<1234>x", b"<1234>x"),
    ],
)
def test_a_message_is_a_line_as_files_have_it(message: bytes, text: bytes):
    assert to_text(message, NOW_MS) == text


@given(st.binary(max_size=80), st.sampled_from([b"<34>1 ", b"<34>", b"<1>1 - h p 1 2 ["]))
def test_any_message(rest: bytes, head: bytes):
    assert isinstance(to_text(head + rest, NOW_MS), bytes)
