"""What an alert says of the incident that it is part of (hids.core.correlate.incidents makes it)."""

import msgspec

from hids.messages.outputs import Incident


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


def is_news(line: bytes) -> bool:
    """Whether an output of incidents tells this alert: it begins one, raises its level, or brings another agent into it."""
    incident = incident_of(line)
    return incident is not None and bool(incident.news)


def only_news(lines: bytes) -> bytes:
    """Of alerts, JSON lines, those that an output of incidents tells."""
    return b"".join(line for line in lines.splitlines(keepends=True) if is_news(line))
