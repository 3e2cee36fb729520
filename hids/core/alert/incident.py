"""What an alert says of the incident that it is part of (hids.core.correlate.incidents makes it)."""

from typing import Literal

import msgspec

News = Literal["first", "level", "agent", ""]


class Incident(msgspec.Struct, frozen=True):
    """`hids.incident` of an alert."""

    id: str
    """Id of its first alert."""
    key: dict[str, str] = {}
    """What it is about, by the names of the fields; empty when the rule counts all events together."""
    news: News = ""
    """What is new: it begins, its level rises, an agent joins; empty when it just goes on."""


class _Hids(msgspec.Struct, frozen=True):
    incident: Incident | None = None


class _Alert(msgspec.Struct):
    hids: _Hids = _Hids()


_alert = msgspec.json.Decoder(_Alert)


def incident_of(line: bytes) -> Incident | None:
    """The incident of an alert, a JSON line; None when it is part of none, or is no alert."""
    if b'"incident":{' not in line:
        return None
    try:
        return _alert.decode(line).hids.incident
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def only_news(lines: bytes) -> bytes:
    """Of alerts, JSON lines, those that an output of incidents tells: all that is new in one."""
    told: list[bytes] = []
    for line in lines.splitlines(keepends=True):
        incident = incident_of(line)
        if incident is not None and incident.news:
            told.append(line)
    return b"".join(told)
