"""What old agents say about files, as facts for the syscheck store; and our facts in OSSEC's words.

    OSSEC   SUM PATH [LF DIFF]     SUM = size:mode:uid:gid:md5:sha1[:sha256], or -1 when the file is gone
    Wazuh   {"type":"event","data":{"path":...,"type":"modified","attributes":{...},"old_attributes":{...}}}

An OSSEC agent tells its whole database at each start and keeps no state, so the manager knows what is new. A Wazuh agent
tells changes only, with what was before: that goes to the store first, as the baseline that it lacks.
"""

import re
import stat
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from hids.errors import RemoteProtocolError
from hids.messages.syscheck import MAX_PROCESS_TEXT, FileFact, Who

COMPLETED = b"syscheck-db-completed"
"""The agent's first tour is over: what was not in it is new from now on."""
REGISTRY = "syscheck-registry"
"""Location of what Windows agents say about the registry."""
MAX_PATH = 4_096
MAX_DIFF = 8_192
"""Bytes kept of what changed inside a file."""
MAX_NUMBER = 2**53 - 1
MODE_BITS = 0o177_777
MAX_SECONDS = 9_223_372_036
"""Nanoseconds since 1970 are 64 bits."""

Seen = Literal["baseline", "scan", "live"]

_UNKNOWN = ("", "xxx", "n/a")
_NUMBER = re.compile(r"[0-9]{1,15}")
_HASHES = {
    "md5": re.compile(r"[0-9a-fA-F]{32}"),
    "sha1": re.compile(r"[0-9a-fA-F]{40}"),
    "sha256": re.compile(r"[0-9a-fA-F]{64}"),
}
_SUM_FIELDS = (6, 7)
_FAILED = re.compile(rb"(?:CreateFile|GetSecurityInfo)=[0-9]+ ")


def read_sum(message: bytes, *, complete: bool, registry: bool = False) -> FileFact | None:
    """Read one event of an OSSEC agent.

    Args:
        message: behind `8:syscheck:`.
        complete: the agent has told its whole database before, so an unknown path is a new file.
        registry: it is a key of Windows' registry.

    Returns:
        None for what is no news of a file: the end of a tour, or a file that could not be opened.

    Raises:
        RemoteProtocolError: malformed.
    """
    told, _, diff = message.partition(b"\n")  # before anything is done to the text: the path ends here
    if told == COMPLETED or _FAILED.match(told):
        return None
    sum_, space, path = told.decode("utf-8", "backslashreplace").partition(" ")
    if not space or not 0 < len(path) <= MAX_PATH:
        raise RemoteProtocolError(f"syscheck: expected SUM PATH, got {message[:60]!r}")
    seen: Seen = "scan" if complete else "baseline"
    if sum_ == "-1":
        return FileFact(path=path, seen=seen, gone=True)
    fields = sum_.split(":")
    if len(fields) not in _SUM_FIELDS:
        raise RemoteProtocolError(f"syscheck: expected a sum of 6 or 7 fields, got {sum_[:80]!r}")
    size, mode, uid, gid, *hashes = fields
    mode_bits = _number(mode) & MODE_BITS
    fact = FileFact(
        path=path,
        seen=seen,
        kind="other" if registry else _kind(mode_bits),
        size=_number(size),
        mode=stat.S_IMODE(mode_bits),
        uid=_number(uid),
        gid=_number(gid),
        user=uid if uid.startswith("S-") else "",
        diff=_diff(diff),
    )
    known = {name: _hash(name, value) for name, value in zip(_HASHES, hashes, strict=False)}
    return msgspec.structs.replace(fact, **known)


def read_json(message: bytes) -> tuple[FileFact, ...]:
    """Read one event of a Wazuh agent: the facts in order.

    Returns:
        Nothing for the marks of a scan.

    Raises:
        RemoteProtocolError: malformed.
    """
    try:
        said = msgspec.json.decode(message, type=_Said)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RemoteProtocolError(f"syscheck: expected a JSON event: {error}") from error
    if said.type != "event":
        return ()
    change = said.data
    if not 0 < len(change.path) <= MAX_PATH:
        raise RemoteProtocolError("syscheck: expected an event with a path")
    path = registry_path(change.path, change.arch, change.value_name)
    seen: Seen = "live" if change.mode in ("realtime", "whodata") else "scan"
    now, before = change.attributes, change.old_attributes
    match change.type:
        case "added":
            added = msgspec.structs.replace(fact_of(path, seen, now), who=_who(change.audit))
            return FileFact(path=path, seen="baseline", gone=True), added
        case "deleted":
            return fact_of(path, "baseline", now), FileFact(path=path, seen=seen, gone=True, who=_who(change.audit))
        case "modified":
            changed = fact_of(path, seen, {**before, **now})
            diff = _diff(change.content_changes.encode("utf-8", "replace"))
            changed = msgspec.structs.replace(changed, diff=diff, who=_who(change.audit))
            # Attributes that are in one of both only did not change.
            return fact_of(path, "baseline", {**now, **before}), changed


class _Change(msgspec.Struct, frozen=True):
    path: str = ""
    type: Literal["added", "modified", "deleted"] = "modified"
    mode: str = ""
    arch: str = ""
    value_name: str = ""
    attributes: dict[str, Any] = {}
    old_attributes: dict[str, Any] = {}
    content_changes: str = ""
    audit: dict[str, Any] = {}


class _Said(msgspec.Struct, frozen=True):
    type: str = ""
    data: _Change = _Change()


def registry_path(path: str, arch: str, value_name: str) -> str:
    """Keys and values of the registry have paths of their own in the store; files have neither arch nor value."""
    value = f"\\\\{value_name}" if value_name else ""
    return f"{arch + ' ' if arch else ''}{path}{value}"[:MAX_PATH]


def fact_of(path: str, seen: Seen, attributes: dict[str, Any]) -> FileFact:
    """What Wazuh's attributes say of a path."""
    fact = FileFact(
        path=path,
        seen=seen,
        kind=_KINDS.get(_text(attributes.get("type", "file")), "other"),
        size=_number(attributes.get("size", 0)),
        mode=_mode(attributes.get("perm")),
        uid=_number(attributes.get("uid", 0)),
        gid=_number(attributes.get("gid", 0)),
        user=_text(attributes.get("user_name")),
        group=_text(attributes.get("group_name")),
        mtime_ns=min(_number(attributes.get("mtime", 0)), MAX_SECONDS) * 1_000_000_000,
        inode=_number(attributes.get("inode", 0)),
    )
    known = {name: _hash(name, attributes.get(f"hash_{name}", "")) for name in _HASHES}
    return msgspec.structs.replace(fact, **known)


def _who(audit: dict[str, Any]) -> Who | None:
    """The process of a who-data event."""
    if not audit:
        return None
    told = {name: _text(audit.get(name), MAX_PROCESS_TEXT) for name in ("process_name", "parent_name", "cwd")}
    return Who(
        pid=_number(audit.get("process_id", 0)),
        uid=_id(audit.get("user_id")),
        user=_text(audit.get("user_name")),
        effective_uid=_id(audit.get("effective_uid")),
        effective_user=_text(audit.get("effective_name")),
        login_uid=_id(audit.get("audit_uid")),
        login_user=_text(audit.get("audit_name")),
        gid=_id(audit.get("group_id")),
        group=_text(audit.get("group_name")),
        process=told["process_name"],
        cwd=told["cwd"],
        ppid=_number(audit.get("ppid", 0)),
        parent=told["parent_name"],
    )


def _id(value: object) -> int:
    """Of a user or group; -1 where there is none, or a SID."""
    return _number(value) if _NUMBER.fullmatch(str(value)) else -1


def _mode(permissions: object) -> int:
    """Permission bits from "rw-r--r--"; 0 for Windows' lists, which are no bits."""
    if not isinstance(permissions, str) or len(permissions) != 9:  # noqa: PLR2004 - rwx three times
        return 0
    bits = 0
    for place, (letter, special) in enumerate(
        zip(permissions, (0, 0, 0o4000, 0, 0, 0o2000, 0, 0, 0o1000), strict=True)
    ):
        bits |= (letter in "rwxst") << (8 - place) | (special if letter in "sStT" else 0)
    return bits


_KINDS: Mapping[str, Literal["file", "key", "value"]] = {
    "file": "file",
    "registry_key": "key",
    "registry_value": "value",
}
"""What Wazuh's agents call it -> the fact's kind."""


def _kind(mode: int) -> Literal["file", "dir", "link", "other"]:
    if stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0:
        return "file"
    return "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _number(value: object) -> int:
    """What is no number was not looked at, or is a SID of Windows."""
    text = str(value)
    return min(int(text), MAX_NUMBER) if _NUMBER.fullmatch(text) else 0


def _hash(name: str, value: object) -> str:
    text = str(value)
    return text.lower() if text not in _UNKNOWN and _HASHES[name].fullmatch(text) else ""


def _diff(told: bytes) -> str:
    return told[:MAX_DIFF].decode("utf-8", "replace")


def _text(value: object, most: int = 256) -> str:
    return value[:most] if isinstance(value, str) else ""


_FORMATS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK, "other": 0}


def encode_sum(fact: FileFact) -> bytes:
    """One of our facts for an OSSEC manager: the text behind `8:syscheck:`. A path ends at its first newline there."""
    path = fact.path.replace("\n", "?").encode("utf-8", "surrogateescape")
    if fact.gone:
        return b"-1 " + path
    hashes = ":".join(value or "xxx" for value in (fact.md5, fact.sha1, fact.sha256))
    mode = _FORMATS[fact.kind] | fact.mode
    return f"{fact.size}:{mode}:{fact.uid}:{fact.gid}:{hashes} ".encode() + path
