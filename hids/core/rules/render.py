"""An event as the members of an alert that follow its rule, in Wazuh 4's order and form."""

from functools import lru_cache
from typing import Any, cast

import msgspec

from hids.core.decode.decoder import STATIC_FIELDS
from hids.core.decode.event import Event
from hids.messages import Agent, LogLine

_encode = msgspec.json.Encoder().encode

_ORDER = (
    "protocol",
    "action",
    "srcip",
    "srcport",
    "srcuser",
    "dstip",
    "dstport",
    "dstuser",
    "id",
    "status",
    "url",
    "data",
    "extra_data",
    "system_name",
    "filename",
)
"""Wazuh's order of the static fields in `data`."""


def tail(event: Event, line: LogLine, agent: Agent, manager_name: str, *, full_log: bool = True) -> bytes:
    """JSON members without the outer braces. Bytes that are no UTF-8 become U+FFFD, so it is always valid.

    `line.facts`, which only the manager writes, are appended as they are.
    """
    parts = [_sender(agent, manager_name)]
    if full_log:
        parts += (b',"full_log":', _encode(_text(event.full_log)))
    if header := _predecoder(event):
        parts += (b',"predecoder":', _encode(header))
    parts += (_decoded(event), b',"location":', _location(event.location))
    if line.facts:
        parts += (b",", line.facts)
    return b"".join(parts)


def _decoded(event: Event) -> bytes:
    """Decoder and fields, with the comma before them."""
    reading = event.reading
    if reading.members is not None and not event.given:
        return reading.members
    members = b',"decoder":' + _decoder(event.decoder_name, event.decoder_parent)
    if data := _data(event.fields):
        members += b',"data":' + _encode(data)
    if not event.given:
        reading.members = members
    return members


@lru_cache(maxsize=1024)
def _sender(agent: Agent, manager_name: str) -> bytes:
    """Who sent the line to whom."""
    members = {"agent": {"id": agent.id, "name": agent.name, "ip": agent.ip}, "manager": {"name": manager_name}}
    return _encode(members)[1:-1]


@lru_cache(maxsize=1024)
def _decoder(name: str | None, parent: str | None) -> bytes:
    return _encode({key: value for key, value in (("parent", parent), ("name", name)) if value is not None})


@lru_cache(maxsize=1024)
def _location(location: str) -> bytes:
    return _encode(location.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _predecoder(event: Event) -> dict[str, str]:
    """What the header says; a line that is no log has none."""
    members: dict[str, str] = {}
    if event.line.kind != "log":
        return members
    header = event.header
    if header.program:
        members["program_name"] = _text(header.program)
    if header.timestamp:
        members["timestamp"] = _text(header.timestamp)
    if header.hostname:
        members["hostname"] = _text(header.hostname)
    return members


def _data(fields: dict[str, bytes]) -> dict[str, Any]:
    """Static fields first, then dynamic ones, nested at their dots.

    Names with fewer dots go first, so that a value is never in the way of an object that is there already.
    """
    static, dynamic = _order(tuple(fields))
    data: dict[str, Any] = {name: _text(fields[name]) for name in static}
    for name in dynamic:
        _nest(data, name, _text(fields[name]))
    return data


@lru_cache(maxsize=1024)
def _order(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Static and dynamic names in the alert's order."""
    dynamic = sorted((name for name in names if name not in STATIC_FIELDS), key=lambda name: (name.count("."), name))
    return tuple(name for name in _ORDER if name in names), tuple(dynamic)


def _nest(data: dict[str, Any], name: str, value: str) -> None:
    """Put `a.b` into the object `a`; where that name is taken by a value, keep the name whole."""
    *outer, last = name.split(".")
    place = data
    for part in outer:
        inner: object = place.setdefault(part, {})
        if not isinstance(inner, dict):
            data[name] = value
            return
        place = cast("dict[str, Any]", inner)
    place[last] = value


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
