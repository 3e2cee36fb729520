from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from hids.core.decode.header import Header, read_header
from hids.core.dialect import Dialect
from hids.messages.lines import MAX_LINE_BYTES, LogLine

DIALECTS: list[Dialect] = ["ossec", "wazuh", "hids"]


def read(text: bytes | str, dialect: Dialect = "hids") -> Header:
    return read_header(LogLine("f", text if isinstance(text, bytes) else text.encode(), 0, 0), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "host", "program", "log"),
    [
        ("Dec 29 10:00:01 web1 app[12]: msg", b"web1", b"app", b"msg"),
        ("Dec  9 10:00:01 web1 app[12]: msg", b"web1", b"app", b"msg"),
        ("Dec 29 10:00:01 web1 app[1] msg", b"web1", b"app", b"msg"),
        ("Dec 29 10:00:01  web1 app: msg", b"web1", b"app", b"msg"),
        ("Dec 29 10:00:01 web1 app[12x]: msg", b"web1", None, b"app[12x]: msg"),
        ("Dec 29 10:00:01 app: msg", None, b"app", b"msg"),
        ("Dec 29 10:00:01 web1 : msg", b"web1", b"", b"msg"),
        ("Dec 29 10:00:01 we,b1 app: msg", None, None, b"we,b1 app: msg"),
        ("Dec 29 10:00:01 web1", None, None, b"web1"),
        ("Dec 29 10:00:01 ", None, None, b"Dec 29 10:00:01 "),
        ("Mär 02 17:30:52 web1 app: msg", b"web1", b"app", b"msg"),
        ("2015-04-16 21:51:02,805 web1 app: msg", b"web1", b"app", b"msg"),
        ("2007-06-14T15:48:55-04:00 web1 app: msg xx", b"web1", b"app", b"msg xx"),
        ("2009-05-22T09:36:46.214994-07:00 web1 app: msg", b"web1", b"app", b"msg"),
        ("2015 Dec 29 10:00:01 web1 app: msg", b"web1", b"app", b"msg"),
        ("Dec 29 10:00:01 web1 app[1]: [ID 702911 mail.info] msg", b"web1", b"app", b"msg"),
        ("Dec 29 10:00:01 web1 auth|security:info sshd[77]: msg", b"web1", b"sshd", b"msg"),
        ("Dec 29 10:00:01 web1 auth|security:info sshd:x", b"web1", None, b"auth|security:info sshd:x"),
        ("[Fri Feb 11 18:06:35 2004] [warn] msg", None, None, b" [warn] msg"[1:]),
        ("01/28-09:13:16.240702  [**] x", None, None, b"[**] x"),
        ("01/28/1979-09:13:16.240702  [**] x", None, None, b"[**] x"),
        ("1140804070.368  11623 1.2.3.4 TCP_MISS/200 x", None, None, b"11623 1.2.3.4 TCP_MISS/200 x"),
        ('192.0.2.1 - - [24/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5', None, None, None),
    ],
)
def test_forms_that_both_dialects_read(
    dialect: Dialect, text: str, host: bytes | None, program: bytes | None, log: bytes | None
) -> None:
    header = read(text, dialect)
    whole = text.encode()
    assert (header.hostname, header.program, header.log) == (host, program, whole if log is None else log)
    assert header.full_log == whole


@pytest.mark.parametrize("text", ["2009-05-22T09:36:46,2-07:00 web1 app: msg", "2019:11:06-00:08:03 web1 app: msg"])
def test_dates_that_wazuh_does_not_know(text: str) -> None:
    for dialect in ("ossec", "hids"):
        header = read(text, dialect)
        assert (header.hostname, header.program, header.log) == (b"web1", b"app", b"msg")
    assert astuple(read(text, "wazuh"))[:4] == (None, None, None, text.encode())


@pytest.mark.parametrize(
    ("text", "host", "blind"),
    [
        ("2022-12-19T15:02:53.2+00:00 host1 app: msg", b"host1", (b"1", b"app")),
        ("2022-12-19T15:02:53.288Z host1 app: message padding", b"host1", (None, b"pp")),
    ],
)
def test_where_wazuh_cuts_a_host_we_do_only_if_asked(text: str, host: bytes, blind: tuple[bytes | None, bytes]) -> None:
    assert astuple(read(text, "wazuh"))[1:3] == (host, b"app")
    assert astuple(read_header(LogLine("f", text.encode(), 0, 0), "wazuh", blind=True))[1:3] == blind


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T03:21:43Z web1 app: msg",
        "2026-11-24T03:21:43.123456Z web1 app[1]: msg",
        "2026-11-24T03:21:43+0100 web1 app: msg",
        "2021-04-21 10:16:09.404756-0700 web1 app[3]: msg",
        "Dec 29 10:00:01 web1 app:msg",
        "Dec 29 10:00:01 web1 app[3]:msg",
    ],
)
def test_ours_reads_more(text: str) -> None:
    header = read(text)
    assert (header.hostname, header.program, header.log) == (b"web1", b"app", b"msg")
    assert read(text, "ossec").program is None


def test_macos_counts_only_the_first_message_against_forgery() -> None:
    line = "[Time 2006.12.28 15:53:55 UTC] [Sender sshd] [Message PAM: fail] [Message ok] [Host h1] [Sender x]"
    assert astuple(read(line))[1:4] == (b"h1", b"sshd", b"PAM: fail")
    assert read("[Time 2006.12.28 15:53:55 UTC] [Sender sshd] [PID 4]").log == b" UTC] [Sender sshd"


def test_the_date_is_kept_as_written() -> None:
    assert read("Dec 29 10:00:01 web1 app: msg").timestamp == b"Dec 29 10:00:01"
    assert read("2026-11-24T03:21:43Z web1 app: msg").timestamp == b"2026-11-24T03:21:43Z"


def test_ossec_deletes_control_bytes_and_ours_keeps_them() -> None:
    assert read(b"a\tb\x7fc", "ossec").full_log == b"abc"
    assert read(b"a\tb\x7fc").log == b"a\tb\x7fc"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_line_of_the_products_own_has_a_program_that_no_log_can_have(dialect: Dialect) -> None:
    text = b"Dec 29 10:00:01 web1 app: x\ty"
    header = read_header(LogLine("syscheck", text, 0, 0, "syscheck"), dialect)
    assert header == Header(None, None, b"hids:syscheck", text, text)
    assert read(b"Dec 29 10:00:01 web1 hids:syscheck: x", dialect).program != b"hids:syscheck"


def test_long_lines_are_cut() -> None:
    assert len(read(b"x" * (MAX_LINE_BYTES + 5)).full_log) == MAX_LINE_BYTES


@pytest.mark.parametrize("dialect", DIALECTS)
@given(text=st.binary(max_size=80))
def test_any_bytes_have_a_header(dialect: Dialect, text: bytes) -> None:
    header = read(text, dialect)
    assert not (header.program or b"").startswith(b"hids:")
    assert len(header.full_log) <= len(text)


PIECES = st.lists(
    st.sampled_from(
        [
            *(b"Dec 29 10:00:01", b"2026-11-24T03:21:43Z", b" ", b"  ", b"web1", b"app", b"[12]", b":", b": ", b"hids"),
            *(b"[ID 7 x] ", b"auth", b"|", b"sec:info ", b"[Time 2006.12.28 15:53:55 ", b"]", b"[Sender hids:agent]"),
            *(b"[Host h]", b"[Message m]", b"\xc3\xa9", b"\t", b"1140804070.368 ", b"[Fri Feb 11 18:06:35 2004]"),
        ]
    ),
    max_size=9,
).map(b"".join)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(text=PIECES)
def test_the_log_is_a_part_of_the_line(dialect: Dialect, text: bytes) -> None:
    header = read(text, dialect)
    assert header.log in header.full_log
    assert not (header.program or b"").startswith(b"hids:")


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_cases_of_the_real_engines(design: Any, dialect: Dialect) -> None:
    """Lines with what the real pre-decoders make of them."""
    checked = 0
    for case in design["predecoding"]:
        if dialect not in case:
            continue
        header = read_header(LogLine("f", case["log"].encode(), 0, 0), dialect, blind=True)
        got = {
            "timestamp": header.timestamp,
            "hostname": header.hostname or b"<server>",
            "program_name": header.program,
            "log": header.log,
        }
        texts = {key: None if value is None else value.decode("utf-8", "replace") for key, value in got.items()}
        assert {key: texts[key] for key in case[dialect]} == case[dialect], case["log"]
        checked += 1
    assert checked >= 48
