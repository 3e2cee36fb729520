"""An event as the members of an alert that follow its rule, in Wazuh 4's order and form."""

from typing import Any, cast

import msgspec

from hids.core.decode.decoder import STATIC_FIELDS
from hids.core.decode.event import Event
from hids.messages import Agent, LogLine

_json = msgspec.json.Encoder()

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
    members: dict[str, Any] = {
        "agent": {"id": agent.id, "name": agent.name, "ip": agent.ip},
        "manager": {"name": manager_name},
    }
    if full_log:
        members["full_log"] = _text(event.full_log)
    if header := _predecoder(event):
        members["predecoder"] = header
    decoder = event.decoder
    if decoder is not None:
        parent = {} if decoder.parent is None else {"parent": decoder.parent}
        members["decoder"] = {**parent, "name": decoder.name}
    else:
        members["decoder"] = {}
    if data := _data(event.fields):
        members["data"] = data
    members["location"] = line.location.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    encoded = _json.encode(members)[1:-1]
    return encoded + b"," + line.facts if line.facts else encoded


def _predecoder(event: Event) -> dict[str, str]:
    """What the header says; a line that is no log has none."""
    if event.line.kind != "log":
        return {}
    parts = {"program_name": event.program, "timestamp": event.timestamp, "hostname": event.header.hostname}
    return {name: _text(value) for name, value in parts.items() if value}


def _data(fields: dict[str, bytes]) -> dict[str, Any]:
    """Static fields first, then dynamic ones, nested at their dots.

    Names with fewer dots go first, so that a value is never in the way of an object that is there already.
    """
    data: dict[str, Any] = {name: _text(fields[name]) for name in _ORDER if name in fields}
    for name in sorted(fields.keys() - STATIC_FIELDS, key=lambda name: (name.count("."), name)):
        _nest(data, name, _text(fields[name]))
    return data


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
