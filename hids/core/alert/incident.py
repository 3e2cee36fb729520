"""What an alert says of the incident that it is part of (hids.core.correlate.incidents makes it)."""

import msgspec

from hids.messages import Incident


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
