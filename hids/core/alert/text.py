"""The text form of an alert: the block that OSSEC writes to alerts.log and that its users' scripts parse.

    ** Alert 1795490503.17: mail  - syslog,auth_failures,
    2026 Nov 24 03:21:43 (web1) 10.0.0.1->/var/log/auth.log
    Rule: 200112 (level 10) -> 'Many failed logins'
    Src IP: 192.0.2.7
    User: joe
    Nov 24 03:21:42 web1 sshd[7]: Failed password for joe from 192.0.2.7
    Nov 24 03:21:40 web1 sshd[6]: Failed password for joe from 192.0.2.7
    <an empty line>

What an attacker wrote cannot fake a line of this frame. Control characters, and those that turn the direction
of text, are written as escapes. Newlines stay only inside the log and the previous logs, since OSSEC's
syscheck alerts have several lines; each such line that is empty or reads like the frame is indented by one
space. So a block holds exactly one header, and ends at its first empty line. Logs are not cut (OSSEC cuts
them at 1,256 bytes).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

import msgspec

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's %b: that follows the locale."""

_LABELS = ("Src IP", "Src Location", "Src Port", "Dst IP", "Dst Location", "Dst Port", "User")
"""Lines between the rule and the log, in OSSEC's order; the decoded fields that they show are `_Data`'s."""

_FRAME = re.compile(
    r"$|\*\* Alert|Rule: |" + "|".join(f"{re.escape(label)}: " for label in _LABELS),
)

UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # control bytes but the tab, and the C1 set that some terminals obey
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks (Unicode TR 9): text shown out of order
    "\u2028\u2029\ud800-\udfff]",  # separators that some readers take for newlines, and what is no character
)


def plain(value: str) -> str:
    r"""Escape what could act on a terminal or break a line: ESC becomes ``\x1b``. The result is one line."""
    # What is printable has nothing to escape, and most text is.
    return value if value.isprintable() else UNSAFE.sub(_escape, value)


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """An alert's decoded fields as (name, value): those that nest come under their full name, "a.b"."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from flat(cast("dict[str, Any]", value), f"{prefix}{name}.")
        else:
            yield prefix + name, value


class _Rule(msgspec.Struct):
    id: str | int
    level: int
    description: str
    groups: tuple[str, ...] = ()
    mail: bool = False


class _Agent(msgspec.Struct):
    id: str
    name: str
    ip: str = "any"


class _Number(msgspec.Struct):
    number: int


class _Header(msgspec.Struct):
    hostname: str = ""


class _Data(msgspec.Struct):
    srcip: Any = None
    srcgeoip: Any = None
    srcport: Any = None
    dstip: Any = None
    dstgeoip: Any = None
    dstport: Any = None
    dstuser: Any = None


class _Alert(msgspec.Struct):
    """What the text form shows; reading no more of an alert halves the time."""

    timestamp: str
    rule: _Rule
    agent: _Agent
    hids: _Number
    location: str = ""
    full_log: str | None = None
    previous_log: str | None = None
    previous_output: str | None = None
    predecoder: _Header | None = None
    data: _Data | None = None


_read = msgspec.json.Decoder(_Alert).decode


def text(line: bytes, tz: tzinfo | None) -> str:
    """Write one alert as a block of OSSEC's alerts.log, with the empty line that ends it.

    Args:
        line: an alert's JSON object.
        tz: the zone of the date line; OSSEC shows the manager's. None is the zone of this process.

    Raises:
        ValueError: it is no alert.
    """
    try:
        alert = _read(line)
        # Printable ASCII without escapes holds nothing that `plain` would change.
        harmless = line.isascii() and b"\\" not in line and b"\x7f" not in line
        return "\n".join(_lines(alert, tz, str if harmless else plain)) + "\n\n"
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an alert: {error!r}") from error


def _lines(alert: _Alert, tz: tzinfo | None, shown: Callable[[str], str]) -> list[str]:
    rule = alert.rule
    timestamp = alert.timestamp
    if timestamp[19:20] == "." and timestamp[23:24] in ("+", "-"):
        timestamp = timestamp[:19] + timestamp[23:]  # whole seconds, of which a busy moment has few
    seconds, date = _moment(timestamp, tz)
    mail = " mail " if rule.mail else ""
    groups = "".join([f"{shown(group)}," for group in rule.groups])
    lines = [
        f"** Alert {seconds}.{alert.hids.number}:{mail} - {groups}",
        f"{date} {_origin(alert, shown)}",
        f"Rule: {shown(str(rule.id))} (level {rule.level}) -> '{shown(rule.description)}'",
    ]
    if (data := alert.data) is not None:
        values = (data.srcip, data.srcgeoip, data.srcport, data.dstip, data.dstgeoip, data.dstport, data.dstuser)
        lines += [
            f"{label}: {shown(value)}"
            for label, value in zip(_LABELS, values, strict=True)
            if value and isinstance(value, str)
        ]
    if alert.full_log:
        lines += _log_lines(alert.full_log, shown)
    if alert.previous_log:
        lines += ("Previous output:", *_log_lines(alert.previous_log, shown))
    if alert.previous_output:
        lines += _log_lines(alert.previous_output, shown)
    return lines


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


@lru_cache(maxsize=64)
def _moment(timestamp: str, tz: tzinfo | None) -> tuple[int, str]:
    """Seconds since the epoch, and the date as OSSEC writes it. Alerts of one moment come together."""
    at = datetime.fromisoformat(timestamp)
    return int(at.timestamp()), _date(at.astimezone(tz))


def _date(at: datetime) -> str:
    return f"{at.year:04d} {MONTHS[at.month - 1]} {at.day:02d} {at:%H:%M:%S}"


def _origin(alert: _Alert, shown: Callable[[str], str]) -> str:
    """`(name) ip->location`, or `host->location` for what the manager (agent 000) read itself."""
    agent = alert.agent
    location = shown(alert.location)
    if agent.id == "000":
        host = (alert.predecoder.hostname if alert.predecoder is not None else "") or agent.name
        return f"{shown(host)}->{location}"
    return f"({shown(agent.name)}) {shown(agent.ip)}->{location}"


def _log_lines(log: str, shown: Callable[[str], str]) -> list[str]:
    """Lines of a log or of the previous logs, none of which can be taken for one of the frame."""
    if "\n" not in log:
        line = shown(log)
        return [f" {line}" if _FRAME.match(line) else line]
    lines = [shown(line) for line in log.removesuffix("\n").split("\n")]
    return [f" {line}" if _FRAME.match(line) else line for line in lines]
