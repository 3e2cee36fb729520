r"""The formats of log files that OSSEC's and Wazuh's users know, by their names (`log_format`).

A format is two things: how raw lines group into events (`hids.core.collect.grouping`; most formats: each line is one), and
how an event is written so that the public decoders for it match. The examples below show what goes in and what comes out.

    multi-line:3         a | b | c                                -> a b c
    multi-line_indented  error | <tab>at x | <tab>at y            -> error at x at y
    audit                lines with the same msg=audit(TIME:ID)   -> joined
    nmapg                Host: 192.0.2.1 (a)<tab>Ports: 22/open/tcp//ssh///   -> Host: 192.0.2.1 (a), open ports: 22(tcp)
    mysql_log            261124  3:21:43 [Note] ready             -> MySQL log: 261124  3:21:43 [Note] ready
    djb-multilog         @4000...  text  in .../smtpd/current     -> Nov 24 03:21:43 host smtpd: text
    snort-full           [**] [1:2:3] scan [**] | [Priority: 2] | 11/24-03:21:43.1 192.0.2.7:4 -> 10.0.0.1:80 | ...
                         -> [**] [1:2:3] scan [**] [Priority: 2] 192.0.2.7:4 -> 10.0.0.1:80
    ossecalert           ** Alert ... (a block of alerts.log)     -> ossec: Alert Level: 5; Rule: 5716 - text; ...
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import Final

from hids.core.collect.grouping import Grouping, Lines, joined
from hids.errors import ConfigError

SINGLE = ("syslog", "generic", "json", "apache", "squid", "snort-fast", "iis", "nmapg", "djb-multilog")
GROUPED = (
    *("multi-line_indented", "multi-line-regex", "snort-full", "mysql_log", "postgresql_log", "mssql_log"),
    *("audit", "modsec-audit", "ossecalert"),
)
FILE_FORMATS: Final = (*SINGLE, *GROUPED)
"""Besides these, `multi-line:N`."""

MAX_COUNT = 1_000
_MULTI_LINE = re.compile(r"multi-line: ?([0-9]{1,5})")

Writer = Callable[[bytes, str, str], bytes | None]
"""(event, path of the file, this host's name) -> the event as it is sent; None: it is none."""


def line_count(name: str) -> int:
    """N of `multi-line:N`; 0 for another format.

    Raises:
        ConfigError: N is out of range.
    """
    found = _MULTI_LINE.fullmatch(name)
    if found is None:
        return 0
    if not 1 <= int(found[1]) <= MAX_COUNT:
        raise ConfigError(f"multi-line: expected 1 to {MAX_COUNT} lines, got {found[1]}")
    return int(found[1])


def grouping_of(name: str) -> Grouping | None:
    """How a format groups lines; None when each is an event. `multi-line-regex` has a maker of its own."""
    if count := line_count(name):
        return Grouping(ends=lambda lines: len(lines) >= count)
    return _GROUPINGS.get(name)


def writer_of(name: str) -> Writer | None:
    """What a format changes in an event; None for nothing."""
    return _WRITERS.get(name)


# ---- multi-line-regex -------------------------------------------------------------------------------------------


def regex_grouping(pattern: str, match: str, separator: bytes, silence_s: float) -> Grouping:
    """Wazuh's `multi-line-regex`.

    Args:
        pattern: a regular expression of Python, over bytes.
        match: "start": events begin with a line that matches; "end": they end with one; "all": they end when the lines
            together match.
        separator: between lines.
        silence_s: after which what waits is an event.

    Raises:
        ConfigError: no such expression.
    """
    found = compiled(pattern).search

    def write(lines: Lines) -> Iterable[bytes]:
        text = separator.join(lines)
        return (text,) if text else ()

    if match == "start":
        return Grouping(begins=lambda _, line: found(line) is not None, events=write, silence_s=silence_s)
    if match == "end":
        return Grouping(ends=lambda lines: found(lines[-1]) is not None, events=write, silence_s=silence_s)
    return Grouping(ends=lambda lines: found(b"\n".join(lines)) is not None, events=write, silence_s=silence_s)


def compiled(pattern: str) -> re.Pattern[bytes]:
    """Compile an expression over bytes.

    Raises:
        ConfigError: it is none.
    """
    try:
        return re.compile(pattern.encode())
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"not a regular expression: {pattern!r}: {error}") from error


# ---- formats of several lines ------------------------------------------------------------------------------------

_AUDIT_ID = re.compile(rb"msg=audit\(([^)\s]{1,64})\)")
_DATED = re.compile(rb"\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_MYSQL_TIME = re.compile(rb"\d{6} [ \d]\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")
_SNORT_FLOW = re.compile(rb"\S+ -> \S+")
_MODSEC_PART = re.compile(rb"--[0-9A-Za-z]+-([A-Z])--")


def _audit_differs(before: bytes, line: bytes) -> bool:
    first, second = _AUDIT_ID.search(before), _AUDIT_ID.search(line)
    return first is None or second is None or first[1] != second[1]


def _is_not_indented(_: bytes, line: bytes) -> bool:
    return not line.startswith((b" ", b"\t"))


def _unindented(lines: Lines) -> Iterable[bytes]:
    return joined([lines[0], *(line.strip() for line in lines[1:])])


def _is_dated(_: bytes, line: bytes) -> bool:
    return _DATED.match(line) is not None


def _mysql(lines: Lines) -> Iterable[bytes]:
    """Each line by itself; those without a time get the one before them."""
    found = _MYSQL_TIME.match(lines[0])
    yield b"MySQL log: " + lines[0]
    for line in lines[1:]:
        yield b"MySQL log: " + (found[0] + b" " if found else b"") + line.strip()


def _snort(lines: Lines) -> Iterable[bytes]:
    if not lines[0].startswith(b"[**] ["):
        return
    parts = [lines[0]]
    for line in lines[1:]:
        if line.startswith((b"[Classification", b"[Priority")):
            parts.append(line)
        elif (flow := _SNORT_FLOW.search(line)) is not None:
            parts.append(flow[0])
            break
    yield b" ".join(part.strip() for part in parts)


def _is_modsec(kind: bytes) -> Callable[[bytes], bool]:
    def tell(line: bytes) -> bool:
        found = _MODSEC_PART.fullmatch(line.strip())
        return found is not None and found[1] == kind

    return tell


_modsec_first, _modsec_last = _is_modsec(b"A"), _is_modsec(b"Z")


def _filled(lines: Lines) -> Iterable[bytes]:
    return joined([line for line in lines if line])


_RULE = re.compile(rb"Rule: (\d{1,9}) \(level (\d{1,2})\) -> '(.*)'")


def _ossec_alert(lines: Lines) -> Iterable[bytes]:
    """A block of alerts.log as OSSEC's plug-in decoder for relayed alerts reads it."""
    if not lines[0].startswith(b"** Alert ") or len(lines) < 4:  # noqa: PLR2004 - head, date, rule and a log
        return
    rule = _RULE.match(lines[2])
    place = lines[1].split(b" ", 4)[-1]
    if rule is None:
        return
    text = b"ossec: Alert Level: %s; Rule: %s - %s; Location: %s;" % (rule[2], rule[1], rule[3], place)
    rest = list(lines[3:])
    for label, name in ((b"Src IP: ", b"srcip"), (b"User: ", b"user")):
        if rest and rest[0].startswith(label):
            text += b" %s: %s;" % (name, rest.pop(0).removeprefix(label))
    yield b" ".join([text, *(line for line in rest if line)])


_GROUPINGS: Final[dict[str, Grouping]] = {
    "multi-line_indented": Grouping(begins=_is_not_indented, events=_unindented),
    "audit": Grouping(begins=_audit_differs),
    "postgresql_log": Grouping(begins=_is_dated, events=_unindented),
    "mssql_log": Grouping(begins=_is_dated, events=_unindented),
    "mysql_log": Grouping(begins=_is_not_indented, events=_mysql),
    "snort-full": Grouping(
        begins=lambda _, line: line.startswith(b"[**] ["), ends=lambda lines: not lines[-1], events=_snort
    ),
    "modsec-audit": Grouping(
        begins=lambda _, line: _modsec_first(line), ends=lambda lines: _modsec_last(lines[-1]), events=_filled
    ),
    "ossecalert": Grouping(
        begins=lambda _, line: line.startswith(b"** Alert "), ends=lambda lines: not lines[-1], events=_ossec_alert
    ),
}


# ---- formats of one line -----------------------------------------------------------------------------------------

_NMAP = re.compile(rb"Host: (\S{1,64}) (\([^)]{0,255}\))\tPorts: ([^\t]*)")
_TAI = re.compile(rb"@([0-9a-f]{16})[0-9a-f]{8} ")
_TAI_OFFSET = (1 << 62) + 10
"""TAI64 counts from 2^62, and multilog takes TAI to be 10 s ahead of UTC (cr.yp.to/libtai/tai64.html)."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _nmap(event: bytes, _path: str, _host: str) -> bytes | None:
    found = _NMAP.match(event)
    if found is None:
        return None
    ports = [port.strip().split(b"/") for port in found[3].split(b",")]
    seen = [b"%s(%s)" % (port[0], port[2]) for port in ports if len(port) > 2 and port[1] == b"open"]  # noqa: PLR2004
    return b"Host: %s %s, open ports: %s" % (found[1], found[2], b" ".join(seen)) if seen else None


def _djb(event: bytes, path: str, host: str) -> bytes | None:
    """A line of multilog; the folder names the program where the file is called "current"."""
    found = _TAI.match(event)
    if found is None:
        return event
    folder, _, name = path.rpartition("/")
    program = folder.rpartition("/")[2] if name == "current" else name
    return b"%s %s %s: %s" % (
        header_time(int(found[1], 16) - _TAI_OFFSET),
        host.encode("utf-8", "replace"),
        program.replace(" ", "_").encode("utf-8", "replace"),
        event[found.end() :],
    )


def header_time(at_s: float, zone: dt.tzinfo | None = None) -> bytes:
    """Write seconds since 1970 as a syslog header does (RFC 3164 4.1.2); `zone` None is this machine's."""
    try:
        at = dt.datetime.fromtimestamp(at_s, dt.UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        at = dt.datetime.fromtimestamp(0, dt.UTC)
    return b"%s %2d %02d:%02d:%02d" % (_MONTHS[at.month - 1].encode(), at.day, at.hour, at.minute, at.second)


def _iis(event: bytes, _path: str, _host: str) -> bytes | None:
    return None if event.startswith(b"#") else event


_WRITERS: Final[dict[str, Writer]] = {"nmapg": _nmap, "djb-multilog": _djb, "iis": _iis}
