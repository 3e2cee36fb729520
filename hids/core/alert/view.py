"""View: an alert as outputs for people and for other systems show it. Reads what they need of the JSON line."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from hids.core.alert.text import flat
from hids.messages.outputs import Incident


class ViewRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """The alert's rule."""

    level: int
    description: str
    id: str | int
    groups: tuple[str, ...] = ()
    mail: bool = False


class ViewAgent(msgspec.Struct, frozen=True):
    """Whose line it was."""

    id: str
    name: str
    ip: str = "any"


class _Named(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""


class _Header(msgspec.Struct, frozen=True, omit_defaults=True):
    hostname: str = ""


class ViewHids(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the lane says."""

    number: int
    at_ms: int = 0
    incident: Incident | None = None


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """An alert, or what is left of one that had to be made smaller."""

    timestamp: str
    rule: ViewRule
    agent: ViewAgent
    hids: ViewHids
    id: str = ""
    manager: _Named = _Named()
    location: str = ""
    full_log: str = ""
    previous_log: str = ""
    previous_output: str = ""
    predecoder: _Header = _Header()
    decoder: _Named = _Named()
    data: dict[str, Any] = {}
    syscheck: dict[str, Any] = {}

    @property
    def rule_id(self) -> str:
        """The rule's id as text."""
        return str(self.rule.id)

    @property
    def moment(self) -> datetime:
        """When the event was, with a zone."""
        return datetime.fromisoformat(self.timestamp)

    @property
    def origin(self) -> str:
        """`(name) ip->location`, or `host->location` for what the manager (agent 000) read itself."""
        if self.agent.id == "000":
            return f"{self.predecoder.hostname or self.agent.name}->{self.location}"
        return f"({self.agent.name}) {self.agent.ip}->{self.location}"

    def field(self, name: str) -> str:
        """A decoded field as text; empty when there is none."""
        value = self.data.get(name, "")
        return value if isinstance(value, str) else ""

    def fields(self) -> Iterator[tuple[str, str]]:
        """All decoded fields and all that syscheck says, by their full names."""
        for name, value in (*flat(self.data), *flat(self.syscheck, "syscheck.")):
            yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


_read = msgspec.json.Decoder(View).decode


def view(line: bytes) -> View:
    """Read an alert, a JSON line.

    Raises:
        ValueError: it is none.
    """
    try:
        alert = _read(line)
        _ = alert.moment
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an alert: {error}") from error
    return alert


def smaller(alert: View) -> Iterator[View]:
    """The same alert with ever less of what may be long, for whoever has little room."""
    for previous in (alert.previous_output[:200], ""):
        alert = msgspec.structs.replace(alert, previous_output=previous, previous_log="")
        yield alert
    log, room = alert.full_log, len(alert.full_log)
    while room > 32:  # noqa: PLR2004 - less says nothing
        room = room * 3 // 4
        yield msgspec.structs.replace(alert, full_log=f"{log[:room]}...")
    rule = msgspec.structs.replace(alert.rule, description=alert.rule.description[:200], groups=alert.rule.groups[:20])
    alert = msgspec.structs.replace(alert, full_log="", data={}, syscheck={}, rule=rule, location=alert.location[:200])
    yield alert
    incident = msgspec.structs.replace(alert.hids, incident=None)
    yield msgspec.structs.replace(alert, hids=incident)


def kind_of(address: str) -> Literal["v4", "v6", "name", ""]:
    """What a decoded address is: the text of an attacker may be anything."""
    if not address:
        return ""
    try:
        return "v4" if ipaddress.ip_address(address).version == 4 else "v6"  # noqa: PLR2004 - the versions of IP
    except ValueError:
        return "name"
