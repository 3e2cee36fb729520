"""An event as the members of an alert that follow its rule, in Wazuh 4's order and form."""

from functools import lru_cache
from typing import Any, cast

import msgspec

from hids.core.decode.decoder import STATIC_FIELDS, SYSCHECK, Decoder
from hids.core.decode.event import Event
from hids.messages.lines import LogLine
from hids.messages.terms import Agent

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
LONG_NAMES = 256
"""Bytes of names that come from a log, together; longer ones are not remembered, or a flood of them would fill the memory."""


def sender_members(agent: Agent, manager_name: str) -> bytes:
    """Who sends lines to whom: the first members of `tail`."""
    sender: dict[str, Any] = {"id": agent.id, "name": agent.name, "ip": agent.ip}
    if agent.labels:
        sender["labels"] = dict(agent.labels)
    members = {"agent": sender, "manager": {"name": manager_name}}
    return _encode(members)[1:-1]


def tail(event: Event, line: LogLine, sender: bytes, *, full_log: bool = True) -> bytes:
    """JSON members without the outer braces. Bytes that are no UTF-8 become U+FFFD, so it is always valid.

    `line.facts`, which only the manager writes, are appended as they are.
    """
    shown = b',"full_log":' + _encode(event.header.full_log.decode("utf-8", "replace")) if full_log else b""
    header = _predecoder(event)
    facts = b"," + line.facts if line.facts else b""
    return b"".join((sender, shown, header, _decoded(event), b',"location":', _location(event.line.location), facts))


def _decoded(event: Event) -> bytes:
    """Decoder and fields, with the comma before them."""
    reading = event.reading
    if reading.members is not None and not event.given:
        return reading.members
    members = _decoder(event.decoder)
    told = event.decoder is not None and event.decoder.plugin == SYSCHECK  # as the alert's `syscheck`
    if not told and (data := _data(event.fields)):
        members += b',"data":' + _encode(data)
    if not event.given:
        reading.members = members
    return members


@lru_cache(maxsize=1024)
def _decoder(decoder: Decoder | None) -> bytes:
    members: dict[str, str] = {}
    if decoder is not None:
        if decoder.parent is not None:
            members["parent"] = decoder.parent
        members["name"] = decoder.name
    return b',"decoder":' + _encode(members)


@lru_cache(maxsize=1024)
def _location(location: str) -> bytes:
    return _encode(location.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _predecoder(event: Event) -> bytes:
    """What the header says, with the comma before it; a line that is no log has none."""
    header = event.header
    if event.line.kind != "log" or not (header.program or header.timestamp or header.hostname):
        return b""
    # What an attacker makes long is not kept.
    long = len(header.program or b"") + len(header.hostname or b"") > LONG_NAMES
    before, after = (_written if long else _around_timestamp)(header.program, header.hostname)
    if not header.timestamp:
        return before + (after if header.program else after.removeprefix(b","))
    comma = b"," if header.program else b""
    return b"".join((before, comma, b'"timestamp":', _encode(_text(header.timestamp)), after))


def _written(program: bytes | None, hostname: bytes | None) -> tuple[bytes, bytes]:
    """What stands before and behind the timestamp, which differs from line to line."""
    before = b',"predecoder":{' + (b'"program_name":' + _encode(_text(program)) if program else b"")
    after = b',"hostname":' + _encode(_text(hostname)) if hostname else b""
    return before, after + b"}"


_around_timestamp = lru_cache(maxsize=4096)(_written)


def _data(fields: dict[str, bytes]) -> dict[str, Any]:
    """Static fields first, then dynamic ones, nested at their dots.

    Names with fewer dots go first, so that a value is never in the way of an object that is there already.
    """
    names = tuple(fields)
    static, dynamic = _order(names) if sum(map(len, names)) <= LONG_NAMES else _sorted(names)
    data: dict[str, Any] = {name: _text(fields[name]) for name in static}
    for name in dynamic:
        _nest(data, name, _text(fields[name]))
    return data


def _sorted(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Static and dynamic names in the alert's order."""
    dynamic = sorted((name for name in names if name not in STATIC_FIELDS), key=lambda name: (name.count("."), name))
    return tuple(name for name in _ORDER if name in names), tuple(dynamic)


_order = lru_cache(maxsize=1024)(_sorted)


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
