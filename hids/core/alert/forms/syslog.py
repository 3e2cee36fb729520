r"""Syslog's headers and frames around a form.

    <132>Nov 24 03:21:43 manager ossec: ...                                             RFC 3164
    <132>1 2026-11-24T03:21:43.123+00:00 manager hids - 5710 [meta sequenceId="17"] ... RFC 5424

Over TCP and TLS each is a line, or is preceded by its length (RFC 6587 3.4). No form has a newline in it.
"""

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Literal

from hids.core.alert.forms.cef import cef
from hids.core.alert.forms.jsonline import as_it_is, jsonline
from hids.core.alert.forms.leef import leef
from hids.core.alert.forms.ossec import ossec
from hids.core.alert.forms.splunk import splunk
from hids.core.alert.text import MONTHS
from hids.core.alert.view import View, smaller, view
from hids.core.outputs import FACILITIES, SyslogOutput

FORMS: dict[str, Callable[[View], str]] = {
    "default": ossec,
    "cef": cef,
    "leef": leef,
    "json": jsonline,
    "splunk": splunk,
}
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_SEQUENCE = 2_147_483_647
"""RFC 5424 7.3.1: the largest sequenceId; the next is 1."""


class Writer:
    """Writes alerts as one output wants them."""

    def __init__(self, output: SyslogOutput, host: str, tz: tzinfo | None = None) -> None:
        """`host` is this machine's name in the header; `tz` the zone of RFC 3164's date, None that of the process."""
        self._output = output
        self._host = host
        self._tz = tz

    def write(self, line: bytes) -> bytes:
        """One alert as a message, without its frame.

        Raises:
            ValueError: it is no alert.
        """
        alert, room = view(line), self._output.max_bytes
        head = self._head(alert)
        form = FORMS[self._output.format]
        text = as_it_is(line) if self._output.format == "json" else form(alert)
        smaller_ones = smaller(alert)
        while len(message := (head + text).encode(errors="replace")) > room:
            less = next(smaller_ones, None)
            if less is None:
                return message[:room].decode(errors="ignore").encode()
            text = form(less)
        return message

    def frame(self, message: bytes) -> bytes:
        """A message for a stream."""
        return b"%d %s" % (len(message), message) if self.framing == "octets" else message + b"\n"

    @property
    def framing(self) -> Literal["octets", "lines"]:
        """How messages are told apart in a stream: RFC 5425 asks for octets, old receivers for lines."""
        output = self._output
        if output.framing:
            return output.framing
        return "octets" if output.rfc == "5424" or output.protocol == "tls" else "lines"

    def _head(self, alert: View) -> str:
        at = alert.moment
        if self._output.rfc == "5424":
            sequence = (alert.hids.number - 1) % _SEQUENCE + 1
            stamp = at.isoformat(timespec="milliseconds")
            rule = "".join(c for c in alert.rule_id if c.isascii() and c.isprintable() and c != " ")[:32] or "-"
            return f'<{self._priority(alert)}>1 {stamp} {self._host} hids - {rule} [meta sequenceId="{sequence}"] '
        return f"<{self._priority(alert)}>{_date(at.astimezone(self._tz))} {self._host} "

    def _priority(self, alert: View) -> int:
        severity = self._output.severity
        number = _by_level(alert.rule.level) if severity == "level" else SEVERITIES.index(severity)
        return FACILITIES.index(self._output.facility) * 8 + number


def _date(at: datetime) -> str:
    return f"{MONTHS[at.month - 1]} {at.day:2d} {at:%H:%M:%S}"


def _by_level(level: int) -> int:
    """A severity for a rule's level: 12 and above are critical, 7 errors, 4 warnings, others notices."""
    for bound, name in ((12, "crit"), (7, "err"), (4, "warning")):
        if level >= bound:
            return SEVERITIES.index(name)
    return SEVERITIES.index("notice")
