"""The head that syslog and its relatives put before a log: date, host, program.

    "Dec 29 10:00:01 web1 sshd[12]: text" -> timestamp, hostname, program, log

The table of forms is OSSEC's, in its order, and for dialects `ossec` and `wazuh` every quirk is kept. Dialect `hids`
reads more dates (any fraction, zone `Z`), needs no space after `program:`, and keeps control bytes. The date
is never interpreted here: the reader of the line has set its event time.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hids.core.dialect import Dialect
from hids.messages.lines import MAX_LINE_BYTES, LogLine

_UMLAUT = "ä".encode()
"""Second letter of a month: upstream's tests then run one byte further on."""
_CONTROL = bytes(range(32)) + b"\x7f"
OURS = b"hids:"
"""Starts the program names of lines that are no logs: a colon is no name byte."""
_NAME = rb"[()\-./0-9@A-Z_a-z]"


class Header(msgspec.Struct, frozen=True, gc=False):
    """A log line taken apart. None: the line does not say."""

    timestamp: bytes | None
    hostname: bytes | None
    program: bytes | None
    """May be empty, which is a name, not the absence of one."""
    log: bytes
    """What decoders and rules see."""
    full_log: bytes
    """The line as alerts show it."""


def read_header(line: LogLine, dialect: Dialect, *, blind: bool = False) -> Header:
    """Take a line apart. A line that is no log has program `hids:<kind>`, which no log can claim to be.

    Wazuh cuts ISO dates of unusual length in the wrong place, so that the host loses its beginning; with `blind` so do
    we, for rulesets that are to behave as upstream in every case.
    """
    return header_reader(dialect, blind=blind)(line)


def header_reader(dialect: Dialect, *, blind: bool = False) -> Callable[[LogLine], Header]:
    """`read_header` for many lines of one dialect."""
    if dialect == "ossec":
        style, unwanted = _OSSEC, _CONTROL
    else:
        style, unwanted = {"wazuh": _WAZUH_BLIND if blind else _WAZUH, "hids": _HIDS}[dialect], b""

    common = style.common.match

    def read(line: LogLine) -> Header:
        text = line.text[:MAX_LINE_BYTES]
        if line.kind != "log":
            return Header(None, None, OURS + line.kind.encode(), text, text)
        if unwanted:
            text = text.translate(None, unwanted)
        found = common(text)
        if found is None:
            return _read(text, style)
        timestamp, hostname, program = found.groups()
        return Header(timestamp, hostname, program, text[found.end() :], text)

    return read


class _Style(NamedTuple):
    """How a dialect reads what differs."""

    common: re.Pattern[bytes]
    """The usual header at one go; whatever it does not match takes the long way."""
    any_head: re.Pattern[bytes]
    """Whether there is a head at all, of whatever form, but for umlauts: much of what programs write has none."""
    dates: Callable[[bytes], int | None]
    """Where a date ends that host and program follow."""
    colon: re.Pattern[bytes]
    pid: re.Pattern[bytes]
    solaris_id: re.Pattern[bytes]
    xferlog_cut: int
    squid_stamp: int
    """Bytes of squid's date."""
    stamp: Callable[[bytes], bytes]
    """The date of what was cut."""


def _read(text: bytes, style: _Style) -> Header:
    """A line without the usual header."""
    if not style.any_head.match(text) and text[1:3] != _UMLAUT:
        return Header(None, None, None, text, text)
    cut = style.dates(text)
    return _other_form(text, style) if cut is None else _host_and_program(text, cut, style)


# ---- dates -----------------------------------------------------------------------------------------------

_OSSEC_DATES = (
    (re.compile(rb"(?s)...[ ]..[ ]..:..:..[ ]."), 16),  # Dec 29 10:00:01
    (re.compile(rb"(?s)....-..-..[ ]..:..:..,...."), 23),  # 2015-04-16 21:51:02,805
    (re.compile(rb"(?s)....-..-..T..:..:.....:..[ ].{7}"), 26),  # 2007-06-14T15:48:55-04:00
    (re.compile(rb"(?s)[0-9]...[ ]...[ ]..[ ]..:..:..[ ]"), 21),  # 2015 Dec 29 10:00:01
    (re.compile(rb"(?s)[0-9]...:..:..-..:..:..."), 20),  # 2019:11:06-00:08:03
)
"""Form and where OSSEC cuts, in its order. None of them can be an ISO date with a fraction."""
_ISO_FRACTION = re.compile(rb"(?s)....-..-..T..:..:..[.,].{4}(?=.{9})[^:]{0,5}:")
"""2009-05-22T09:36:46.214994-07:00, up to the zone's colon; at least 33 bytes in all."""


def _ossec_date(text: bytes) -> int | None:
    """End of the date by OSSEC's byte tests: mostly the place of the separators, little else."""
    # "Mär": the tests run one byte on, while the cut counts from the line's start.
    tested = text[1:] if text[1:3] == _UMLAUT else text
    for form, cut in _OSSEC_DATES:
        if form.match(tested):
            return cut
    fraction = _ISO_FRACTION.match(tested)
    return None if fraction is None else fraction.end() + len("00")


_WAZUH_DATES = (
    (re.compile(rb"(?s)...[ ]..[ ]..:..:..[ ]."), 16),
    (re.compile(rb"(?s)....-..-..[ ]..:..:..,...."), 24),
    (re.compile(rb"(?s)....-..-..T..:..:.....:..[ ].{7}"), 26),
    (re.compile(rb"(?s)....-..-..T..:..:..\.......:.{6}"), 30),  # 2022-12-19T15:02:53.288+00:00
    (re.compile(rb"(?s)....-..-..T..:..:..\..........:..."), 33),  # 2009-05-22T09:36:46.214994-07:00
    (re.compile(rb"(?s)....-..-..T..:..:..\..{13}"), 32),  # whatever else begins like this
    (re.compile(rb"(?s)[0-9]...[ ]...[ ]..[ ]..:..:..[ ]"), 21),
    (re.compile(rb"(?s)[0-9]...-..-..[ ]..:..:..\.......[+-]....[ ]."), 32),  # 2021-04-21 10:16:09.404756-0700
)
"""Form and where Wazuh cuts, in its order: one byte behind the date."""
_BLIND_CUT = 32
_ISO_DATE = re.compile(rb"[0-9-]{10}T[0-9:]{8}\.[0-9]{1,9}(?:Z|[+-][0-9]{2}:?[0-9]{2})(?= )")


def _wazuh_blind_date(text: bytes) -> int | None:
    """End of the date by Wazuh's byte tests."""
    tested = text[1:] if text[1:3] == _UMLAUT else text
    return next((cut for form, cut in _WAZUH_DATES if form.match(tested)), None)


def _wazuh_date(text: bytes) -> int | None:
    """The same, but where Wazuh guesses the length of an ISO date we look."""
    cut = _wazuh_blind_date(text)
    if cut == _BLIND_CUT and (date := _ISO_DATE.match(text)):
        return date.end() + 1
    return cut


_DATE = re.compile(
    rb"(?:[0-9]{4} )?(?:[A-Za-z]{3}|M\xc3\xa4r) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}(?= )"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    rb"(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})(?= )"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
    rb"(?:,[0-9]{3}|\.[0-9]{1,9}(?:Z|[+-][0-9]{2}:?[0-9]{2}))(?= )"
    rb"|[0-9]{4}:[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}:[0-9]{2}(?= )"
)


def _date(text: bytes) -> int | None:
    """End of a date of any of the forms that OSSEC or Wazuh read, and RFC 5424's with zone `Z`."""
    match = _DATE.match(text)
    return None if match is None or match.end() + 1 >= len(text) else match.end()


# ---- host and program ------------------------------------------------------------------------------------

_NAMES = re.compile(_NAME + rb"*")
_PID = re.compile(rb"\[[0-9]+")
_AIX = re.compile(rb"\|(?=[a-z])[A-Za-z0-9]+:[A-Za-z0-9]+ (" + _NAME + rb"*)")


def _host_and_program(text: bytes, cut: int, style: _Style) -> Header:
    timestamp = style.stamp(text[:cut])
    start = cut + text.startswith(b" ", cut)
    end = _end_of_name(text, start)
    if text.startswith(b": ", end):  # Solaris: no host
        return Header(timestamp, None, text[start:end], _log(text, end + 2, style), text)
    if not text.startswith(b" ", end):
        return Header(timestamp, None, None, text[start:], text)
    hostname = text[start:end]
    program, log = _program(text, end + 1, style)
    return Header(timestamp, hostname, program, log, text)


def _program(text: bytes, start: int, style: _Style) -> tuple[bytes | None, bytes]:
    end = _end_of_name(text, start)
    after = style.colon.match(text, end) or style.pid.match(text, end)
    if after is not None:
        return text[start:end], _log(text, after.end(), style)
    if aix := _AIX.match(text, end):
        return _aix(text, start, aix, style)
    return None, text[start:]


def _aix(text: bytes, start: int, match: re.Match[bytes], style: _Style) -> tuple[bytes | None, bytes]:
    """`auth|security:info prog[1]: text`, with what OSSEC makes of malformed ones."""
    program, end = match.group(1), match.end()
    after = _STRICT_AFTER.match(text, end)
    if after is not None:
        return program, _log(text, after.end(), style)
    pid = _PID.match(text, end)
    if pid is not None:
        return program, text[start:end]
    if text.startswith(b":", end):
        return None, text[start:]
    return text[match.start(1) :], text[end:]


def _log(text: bytes, start: int, style: _Style) -> bytes:
    """The text after the program, without Solaris' message id."""
    if text.startswith(b"[ID ", start) and (end := style.solaris_id.search(text, start)):
        return text[end.end() :]
    return text[start:]


def _end_of_name(text: bytes, start: int) -> int:
    match = _NAMES.match(text, start)
    return start if match is None else match.end()


_STRICT_AFTER = re.compile(rb"(?:\[[0-9]+\])?: ")

# ---- forms without host and program ----------------------------------------------------------------------

_XFERLOG = re.compile(rb"(?s)...[ ]...[ ]..[ ]..:..:..[ ]....[ ].[ ].")
_SNORT = re.compile(rb"(?s)../..-..:..:..\.......[ ]..")
_SURICATA = re.compile(rb"(?s)../../....-..:..:..\.......[ ]")
_APACHE_ERROR = re.compile(rb"(?s)\[...[ ]...[ ]..[ ]..:..:..[ ]....\].")
_ASL = re.compile(rb"(?s)\[T...[ ]....\...\...[ ]..:..:.{5}")
_SQUID = re.compile(rb"(?s)1[0-9]{3}......\...[0-9][ ](?:......[ ]|.......[ ])(?=.)")


def _other_form(text: bytes, style: _Style) -> Header:
    for form, cut in ((_XFERLOG, style.xferlog_cut), (_SNORT, 23), (_SURICATA, 28), (_APACHE_ERROR, 27)):
        if form.match(text):
            return Header(text[:cut].strip(b" []"), None, None, text[cut:], text)
    if _ASL.match(text):
        return _asl(text)
    if _SQUID.match(text):
        return Header(text[: style.squid_stamp], None, None, text[14:].lstrip(b" "), text)
    return Header(None, None, None, text, text)


_ASL_CUT = 25


def _asl(text: bytes) -> Header:
    """macOS: `[Time ...] [Sender prog] [Message text] [Host h]`; only the first Message counts."""
    hostname = program = message = None
    end_of_sender = len(text)
    for entry in re.finditer(rb"\[(Sender|Message|Host) ([^\]]*)\]", text[_ASL_CUT:]):
        name, value = entry.groups()
        if name == b"Host":
            hostname = value
            break
        if name == b"Sender" and program is None and not value.startswith(OURS):
            program, end_of_sender = value, _ASL_CUT + entry.end() - 1
        elif name == b"Message" and message is None:
            message = value
    log = text[_ASL_CUT:end_of_sender] if message is None else message
    return Header(None, hostname, program, log, text)


# ---- the two styles --------------------------------------------------------------------------------------


def _but_one(cut: bytes) -> bytes:
    """Wazuh cuts one byte behind the date."""
    return cut[:-1]


def _stripped(cut: bytes) -> bytes:
    return cut.strip(b" ")


def _common(date: bytes, colon: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb"(?s)(" + date + rb")  ?(" + _NAME + rb"+) (" + _NAME + rb"+)(?:\[[0-9]+\])?" + colon + rb"(?!\[ID )"
    )


def _any_of(*forms: re.Pattern[bytes]) -> re.Pattern[bytes]:
    others = (_XFERLOG, _SNORT, _SURICATA, _APACHE_ERROR, _ASL, _SQUID)
    return re.compile(b"|".join(b"(?s:" + form.pattern.removeprefix(b"(?s)") + b")" for form in (*forms, *others)))


_OSSEC = _Style(
    common=_common(rb".[^\xc3].[ ]..[ ]..:..:..", rb": "),
    any_head=_any_of(*(form for form, _ in _OSSEC_DATES), _ISO_FRACTION),
    dates=_ossec_date,
    colon=re.compile(rb": "),
    pid=re.compile(rb"\[[0-9]+\](?:: | )"),
    solaris_id=re.compile(rb"\] "),
    xferlog_cut=24,
    squid_stamp=14,
    stamp=_stripped,
)
_WAZUH = _Style(
    common=_common(rb".[^\xc3].[ ]..[ ]..:..:..", rb": ?+"),
    any_head=_any_of(*(form for form, _ in _WAZUH_DATES)),
    dates=_wazuh_date,
    colon=re.compile(rb": ?"),
    pid=re.compile(rb"\[[0-9]+\](?:: ?| )"),
    solaris_id=re.compile(rb"\](?s:.)?"),
    xferlog_cut=25,
    squid_stamp=15,
    stamp=_but_one,
)
_WAZUH_BLIND = _WAZUH._replace(dates=_wazuh_blind_date)
_HIDS = _WAZUH._replace(
    common=_common(rb"[A-Za-z]{3} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}", rb": ?+"),
    any_head=_any_of(_DATE),
    dates=_date,
    squid_stamp=14,
    stamp=_stripped,
)
