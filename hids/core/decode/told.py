"""What the manager tells of files and agents, in the words that OSSEC's and Wazuh's own rules know.

    derived line "File '/etc/x' modified: size" -> decoder syscheck_integrity_changed, rule 550
    derived line "Host '192.0.2.1 (a)' added"  -> decoder hostinfo_new, rule 581
    "agent started: ..." of kind `agent`        -> "ossec: Agent started: 'web1->192.0.2.7'.", rules 501 and 503
    "manager started: ..." of kind `agent`      -> "ossec: Ossec started.", rule 502

Lines of dialect `hids` stay as they are. A log cannot write such lines: the program names have a colon, which no
log's has, and what is told of an agent is made of its name and address alone.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec

from hids.core.decode.decoder import SYSCHECK, Decoder
from hids.core.decode.fields import Fields
from hids.core.decode.header import OURS, Header
from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Pattern
from hids.core.response.audit import in_upstream_words as response_in_upstream_words
from hids.messages.lines import LogLine


class Told(NamedTuple):
    """A line in upstream's words."""

    line: LogLine
    header: Header


def in_upstream_words(line: LogLine, dialect: Dialect, host: bytes | None, sender: bytes | None) -> Told | None:
    """The line as OSSEC or Wazuh would have it; None for what neither knows.

    Args:
        line: of whatever kind.
        dialect: of the ruleset that is to judge it.
        host: name of the agent that it is about.
        sender: `(name) ip` of that agent; None when it is the manager.
    """
    if dialect == "hids":
        return None
    if line.kind == "syscheck":
        return _change(line, dialect)
    if line.kind == "response":
        text = response_in_upstream_words(line.text, line.at_ms)
        return None if text is None else Told(line, Header(None, None, None, text, text))
    if line.kind == "agent" and host is not None and sender is not None:
        return _presence(line, host, sender[len(host) + len("() ") :])
    if line.kind == "agent" and sender is None and line.text.startswith(_MANAGER_STARTED):
        return Told(line, Header(None, None, None, _STARTS[dialect], _STARTS[dialect]))
    return None


# ---- agents and the manager ------------------------------------------------------------------------------

_MANAGER_STARTED = b"manager started: "
_STARTS: Mapping[Dialect, bytes] = {"ossec": b"ossec: Ossec started.", "wazuh": b"ossec: Manager started."}

_PRESENCES = (
    (b"agent started: ", b"started", b"->"),
    (b"agent stopped: ", b"stopped", b"->"),
    (b"agent disconnected: ", b"disconnected", b"-"),
    (b"agent removed: ", b"removed", b"-"),
)
"""How our line begins, upstream's word, and what upstream puts between name and address."""


def _presence(line: LogLine, name: bytes, address: bytes) -> Told | None:
    for beginning, word, joint in _PRESENCES:
        if line.text.startswith(beginning):
            text = b"ossec: Agent %b: '%b%b%b'." % (word, name, joint, address or b"any")
            return Told(line, Header(None, None, None, text, text))
    return None


# ---- files -----------------------------------------------------------------------------------------------

_UPSTREAM_EVENTS = {"moved": "added"}
"""What upstream has no word for -> the nearest that it has; the details say the rest."""
_DECODERS = {"added": "syscheck_new_entry", "modified": "syscheck_integrity_changed", "deleted": "syscheck_deleted"}
_AGAIN = ("", "", "_2nd", "_3rd")
"""What OSSEC adds to the decoder's name when a file changes the second time, and the third; its rules know no more."""
_ANSWERED = "syscheck_answered"
"""Decoder of changes that are no news to rules for which a change is a change: a package answers for them, or our own
rules have more to say (rules/61-baseline.xml). No rule names it."""
_REGISTRY = re.compile(r"(?:\[x(?:32|64)\] )?HKEY_")
"""How paths of registry keys and values begin; those of files begin with a slash or a drive."""
_REGISTRY_LOCATION = "syscheck-registry"
"""OSSEC's rules know the registry by the location."""
FILE_DECODERS = frozenset(_DECODERS.values())
"""Names of the decoders of files that came, changed and went."""
_HOST_DECODERS = {"added": "hostinfo_new", "modified": "hostinfo_modified"}
HOST_DECODERS = frozenset(_HOST_DECODERS.values())
"""Names of the decoders of hosts and their open ports."""
_KEY_DECODERS = {event: f"syscheck_registry_key_{event}" for event in _DECODERS}
_VALUE_DECODERS = {event: f"syscheck_registry_value_{event}" for event in _DECODERS}
_VALUE = "\\\\"
"""What stands between a key and the name of its value, where a path has both: no key has an empty name."""


class _Change(msgspec.Struct):
    """What hids.core.syscheck.change tells as the alert's `syscheck` member, as far as the frame is concerned."""

    path: str
    event: str
    mode: str
    value_name: str = ""
    changes: int = 0
    verdict: str = ""
    ports_after: str = ""
    changed_attributes: tuple[str, ...] = ()


class _Facts(msgspec.Struct):
    syscheck: _Change


_facts = msgspec.json.Decoder(_Facts)
_members = msgspec.json.Decoder(dict[str, dict[str, Any]])

_NAMES = {"permissions": "permission", "owner": "uid", "group": "gid"}
"""Our name of a changed attribute -> Wazuh's, where they differ."""


def _change(line: LogLine, dialect: Dialect) -> Told | None:
    try:
        change = _facts.decode(b"{" + line.facts + b"}").syscheck
    except msgspec.MsgspecError:
        return None
    if line.text.startswith(b"Host '"):
        return _host(line, change)
    if change.verdict:
        return Told(line, Header(None, None, OURS + _ANSWERED.encode(), b"", b""))
    change.event = _UPSTREAM_EVENTS.get(change.event, change.event)
    of_registry = _REGISTRY.match(change.path) is not None
    decoders = _DECODERS
    if of_registry and dialect == "wazuh":
        decoders = _VALUE_DECODERS if change.value_name else _KEY_DECODERS
    decoder = decoders.get(change.event)
    if decoder is None:
        return None
    if dialect == "ossec" and change.event == "modified":
        decoder += _AGAIN[min(change.changes, len(_AGAIN) - 1)]
    details = line.text.partition(b"\n")[2]
    path = change.path.encode("utf-8", "replace")
    if change.value_name and dialect == "ossec":
        path += (_VALUE + change.value_name).encode("utf-8", "replace")
    text = _ossec_text(change.event, path, details) if dialect == "ossec" else _wazuh_text(change, path, details)
    if of_registry and dialect == "ossec":
        line = msgspec.structs.replace(line, location=_REGISTRY_LOCATION)
    return Told(line, Header(None, None, OURS + decoder.encode(), text, text))


def _host(line: LogLine, change: _Change) -> Told | None:
    """What nmap saw of a host, which a log cannot tell either."""
    decoder = _HOST_DECODERS.get(change.event)
    if decoder is None:
        return None
    text = f"Host: {change.path}, open ports: {change.ports_after}".encode("utf-8", "replace")
    return Told(line, Header(None, None, OURS + decoder.encode(), text, text))


def _ossec_text(event: str, path: bytes, details: bytes) -> bytes:
    match event:
        case "added":
            return b"\n".join(filter(None, (b"New file '%b' added to the file system." % path, details)))
        case "deleted":
            return b"File '%b' was deleted. Unable to retrieve checksum." % path
        case _:
            return b"Integrity checksum changed for: '%b'\n%b\n" % (path, details)


def _wazuh_text(change: _Change, path: bytes, details: bytes) -> bytes:
    what = b"File"
    if _REGISTRY.match(change.path):
        what = b"Registry Value" if change.value_name else b"Registry Key"
        path += b"\\" + change.value_name.encode("utf-8", "replace") if change.value_name else b""
    lines = [b"%b '%b' %b" % (what, path, change.event.encode()), b"Mode: " + change.mode.encode()]
    if change.changed_attributes:
        lines.append(b"Changed attributes: " + _wazuh_names(change.changed_attributes).encode())
    return b"\n".join((*lines, details)) if details else b"\n".join(lines)


def _wazuh_names(attributes: tuple[str, ...]) -> str:
    return ",".join(_NAMES.get(name, name) for name in attributes)


# ---- decoders --------------------------------------------------------------------------------------------

_FIELDS: Mapping[str, str] = {
    "path": "file",
    "mode": "mode",
    "diff": "changed_content",
    **{f"{name}_before": f"{name}_before" for name in ("size", "perm", "uid", "gid", "md5", "sha1", "sha256")},
    **{f"{name}_before": f"{name}_before" for name in ("uname", "gname", "mtime", "inode")},
    **{f"{name}_after": name for name in ("size", "perm", "uid", "gid", "md5", "sha1", "sha256")},
    **{f"{name}_after": name for name in ("uname", "gname", "mtime", "inode")},
}
"""Member of the alert's `syscheck` -> the name that Wazuh's `<field>` has for it."""


def take_change(facts: bytes, fields: Fields) -> None:
    """Put Wazuh's fields of a change into `fields`; of what is no such facts nothing is taken."""
    try:
        members = _members.decode(b"{" + facts + b"}").get("syscheck", {})
    except msgspec.MsgspecError:
        return
    for member, name in _FIELDS.items():
        value = members.get(member)
        if isinstance(value, str | int) and value != "":
            fields.add(name, str(value).encode("utf-8", "replace"), last_wins=False)
    attributes = members.get("changed_attributes")
    if isinstance(attributes, list):
        names = tuple(str(name) for name in cast("list[object]", attributes))
        fields.add("changed_fields", _wazuh_names(names).encode(), last_wins=False)


def _decoder(name: str, plugin: str | None) -> Decoder:
    return Decoder(
        written=name,
        name=name,
        parent=None,
        type="ossec",
        program=Pattern("osmatch", b"^%b%b$" % (OURS, name.encode())),
        prematch=None,
        prematch_offset="start",
        regex=None,
        regex_offset="start",
        order=(),
        plugin=plugin,
    )


def syscheck_decoders(dialect: Dialect) -> tuple[Decoder, ...]:
    """The decoders of changed files, which no file defines."""
    hosts = _HOST_DECODERS.values()
    if dialect == "ossec":
        again = (_DECODERS["modified"] + suffix for suffix in _AGAIN[2:])
        return tuple(_decoder(name, None) for name in (*_DECODERS.values(), *again, *hosts, _ANSWERED))
    names = (*_DECODERS.values(), *_KEY_DECODERS.values(), *_VALUE_DECODERS.values(), _ANSWERED)
    return tuple(_decoder(name, SYSCHECK) for name in names) + tuple(_decoder(name, None) for name in hosts)
