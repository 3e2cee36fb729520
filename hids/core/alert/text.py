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
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's %b: that follows the locale."""

_FIELDS = (
    ("Src IP", "srcip"),
    ("Src Location", "srcgeoip"),
    ("Src Port", "srcport"),
    ("Dst IP", "dstip"),
    ("Dst Location", "dstgeoip"),
    ("Dst Port", "dstport"),
    ("User", "dstuser"),
)
"""Lines between the rule and the log, in OSSEC's order, with the decoded field that each shows."""

_FRAME = re.compile(
    r"$|\*\* Alert|Rule: |" + "|".join(f"{re.escape(label)}: " for label, _ in _FIELDS),
)

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # control bytes but the tab, and the C1 set that some terminals obey
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks (Unicode TR 9): text shown out of order
    "\u2028\u2029\ud800-\udfff]",  # separators that some readers take for newlines, and what is no character
)


def plain(value: str) -> str:
    r"""Escape what could act on a terminal or break a line: ESC becomes ``\x1b``. The result is one line."""
    # What is printable has nothing to escape, and most text is.
    return value if value.isprintable() else _UNSAFE.sub(_escape, value)


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """An alert's decoded fields as (name, value): those that nest come under their full name, "a.b"."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from flat(cast("dict[str, Any]", value), f"{prefix}{name}.")
        else:
            yield prefix + name, value


def text(alert: Mapping[str, Any], tz: tzinfo | None) -> str:
    """Write one alert as a block of OSSEC's alerts.log, with the empty line that ends it.

    Args:
        alert: an alert's JSON object.
        tz: the zone of the date line; OSSEC shows the manager's. None is the zone of this process.

    Raises:
        ValueError: `alert` is no alert.
    """
    try:
        return "\n".join(_lines(alert, tz)) + "\n\n"
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an alert: {error!r}") from error


def _lines(alert: Mapping[str, Any], tz: tzinfo | None) -> Iterator[str]:
    rule = alert["rule"]
    timestamp = alert["timestamp"]
    if timestamp[19:20] == "." and timestamp[23:24] in ("+", "-"):
        timestamp = timestamp[:19] + timestamp[23:]  # whole seconds, of which a busy moment has few
    seconds, date = _moment(timestamp, tz)
    mail = " mail " if rule.get("mail") else ""
    groups = "".join(f"{plain(group)}," for group in rule.get("groups", ()))
    yield f"** Alert {seconds}.{int(alert['hids']['number'])}:{mail} - {groups}"
    yield f"{date} {_origin(alert)}"
    yield f"Rule: {plain(str(rule['id']))} (level {int(rule['level'])}) -> '{plain(rule['description'])}'"
    yield from _fields(alert.get("data", {}))
    yield from _log_lines(alert.get("full_log"))
    if alert.get("previous_log"):
        yield "Previous output:"
        yield from _log_lines(alert["previous_log"])
    yield from _log_lines(alert.get("previous_output"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


@lru_cache(maxsize=64)
def _moment(timestamp: str, tz: tzinfo | None) -> tuple[int, str]:
    """Seconds since the epoch, and the date as OSSEC writes it. Alerts of one moment come together."""
    at = datetime.fromisoformat(timestamp)
    return int(at.timestamp()), _date(at.astimezone(tz))


def _date(at: datetime) -> str:
    return f"{at.year:04d} {_MONTHS[at.month - 1]} {at.day:02d} {at:%H:%M:%S}"


def _origin(alert: Mapping[str, Any]) -> str:
    """`(name) ip->location`, or `host->location` for what the manager (agent 000) read itself."""
    agent = alert["agent"]
    location = plain(alert.get("location", ""))
    if agent["id"] == "000":
        host = alert.get("predecoder", {}).get("hostname") or agent["name"]
        return f"{plain(host)}->{location}"
    return f"({plain(agent['name'])}) {plain(agent.get('ip', 'any'))}->{location}"


def _fields(data: Mapping[str, Any]) -> Iterator[str]:
    for label, name in _FIELDS:
        if isinstance(value := data.get(name), str) and value:
            yield f"{label}: {plain(value)}"


def _log_lines(log: str | None) -> Iterator[str]:
    """Lines of a log or of the previous logs, none of which can be taken for one of the frame."""
    if not log:
        return
    for line in log.removesuffix("\n").split("\n"):
        shown = plain(line)
        yield f" {shown}" if _FRAME.match(shown) else shown
