"""What a [[source]] makes of an event before it is sent: which ones it takes, labels, and `out_format`.

Takes `ignore` and `restrict` as Wazuh does: an event goes on when one of `restrict` matches (or there is none), and none of
`ignore`. Nothing is lost by it that the configuration did not name; what was left out is counted with the source.
"""

import base64
import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence

from hids.core.collect.formats import Writer, compiled, header_time
from hids.errors import ConfigError

_PLACE = re.compile(r"\$\(([^()]{1,64})\)")


class Place:
    """Where and when an event was read, for `out_format`."""

    def __init__(self, path: str, host: str, address: str) -> None:
        self.path = path
        self.host = host
        self.address = address
        """This host's, as others see it; empty when it is not known."""


def output_front(label: str) -> bytes:
    """What stands before the output of a command, as OSSEC's rules know it; a space or the end of the line follows."""
    return b"ossec: output: '%s':" % label.encode("utf-8", "backslashreplace")


class Shape:
    """Takes or leaves an event, and writes it."""

    def __init__(
        self,
        *,
        writer: Writer | None = None,
        ignore: Sequence[str] = (),
        restrict: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        out_format: str = "",
    ) -> None:
        """Compile what a source says.

        Raises:
            ConfigError: an expression or a variable that is none.
        """
        self._writer = writer
        self._ignore = tuple(map(compiled, ignore))
        self._restrict = tuple(map(compiled, restrict))
        self._members = json.dumps(dict(labels), ensure_ascii=False)[1:-1].encode() if labels else b""
        self._out = _template(out_format) if out_format else None

    @property
    def is_plain(self) -> bool:
        """True when events go on as they are."""
        return not (self._writer or self._ignore or self._restrict or self._members or self._out)

    def apply(self, event: bytes, place: Place, now_ms: int) -> bytes | None:
        """The event as it is sent; None when it is not."""
        if self._restrict and not any(pattern.search(event) for pattern in self._restrict):
            return None
        if any(pattern.search(event) for pattern in self._ignore):
            return None
        text = event if self._writer is None else self._writer(event, place.path, place.host)
        if text is None:
            return None
        if self._members:
            text = labelled(text, self._members)
        return text if self._out is None else b"".join(part(text, place, now_ms) for part in self._out)


def labelled(event: bytes, members: bytes) -> bytes:
    """Put JSON members in front of those of an event that is a JSON object; another event stays as it is."""
    text = event.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return event
    rest = text[1:].lstrip()
    return b"{" + members + (b"" if rest == b"}" else b",") + rest


_Part = Callable[[bytes, Place, int], bytes]


def _template(text: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    for found in _PLACE.finditer(text):
        parts += [_literal(text[at : found.start()]), _variable(found[1])]
        at = found.end()
    return [*parts, _literal(text[at:])]


def _literal(text: str) -> _Part:
    data = text.encode()
    return lambda _event, _place, _now: data


def _variable(name: str) -> _Part:
    if name.startswith("timestamp "):
        form = name.removeprefix("timestamp ")
        return lambda _event, _place, now_ms: _local(now_ms).strftime(form).encode("utf-8", "replace")
    if name not in _VARIABLES:
        raise ConfigError(f"out_format: $({name}) is not known; there are $({'), $('.join(_VARIABLES)})")
    return _VARIABLES[name]


def _local(now_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).astimezone()


def _escaped(event: bytes) -> bytes:
    return json.dumps(event.decode("utf-8", "backslashreplace"), ensure_ascii=False)[1:-1].encode()


def _printed(event: bytes, place: Place) -> bytes:
    """Of a command's output: without what is put in front of it; of anything else all."""
    front = output_front(place.path)
    return event[len(front) + 1 :] if event.startswith(front) else event


_VARIABLES: dict[str, _Part] = {
    "log": lambda event, _place, _now: event,
    "printed": lambda event, place, _now: _printed(event, place),
    "json_escaped_log": lambda event, _place, _now: _escaped(event),
    "base64_log": lambda event, _place, _now: base64.b64encode(event),
    "location": lambda _event, place, _now: place.path.encode("utf-8", "backslashreplace"),
    "hostname": lambda _event, place, _now: place.host.encode("utf-8", "backslashreplace"),
    "host_ip": lambda _event, place, _now: place.address.encode(),
    "timestamp": lambda _event, _place, now_ms: header_time(now_ms / 1000),
}
