"""An event as the members of an alert that follow its rule, in Wazuh 4's order and form."""

from functools import lru_cache
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
    members: dict[str, Any] = {}
    if full_log:
        members["full_log"] = _text(event.full_log)
    if header := _predecoder(event):
        members["predecoder"] = header
    members["decoder"] = _decoder(event.decoder_name, event.decoder_parent)
    if data := _data(event.fields):
        members["data"] = data
    members["location"] = _location(event.location)
    encoded = _sender(agent, manager_name) + _json.encode(members)[1:-1]
    return encoded + b"," + line.facts if line.facts else encoded


@lru_cache(maxsize=1024)
def _sender(agent: Agent, manager_name: str) -> bytes:
    """Who sent the line to whom, with the comma behind it."""
    sender: dict[str, Any] = {"id": agent.id, "name": agent.name, "ip": agent.ip}
    if agent.labels:
        sender["labels"] = dict(agent.labels)
    members = {"agent": sender, "manager": {"name": manager_name}}
    return _json.encode(members)[1:-1] + b","


@lru_cache(maxsize=1024)
def _decoder(name: str | None, parent: str | None) -> msgspec.Raw:
    return msgspec.Raw(
        _json.encode({key: value for key, value in (("parent", parent), ("name", name)) if value is not None})
    )


@lru_cache(maxsize=1024)
def _location(location: str) -> msgspec.Raw:
    return msgspec.Raw(_json.encode(location.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))


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
