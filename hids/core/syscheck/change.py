"""What changed between two sights of a path, told as the first line our rules decode and as Wazuh's `syscheck` object.

The lines after the first use the words that OSSEC's users search for ("Size changed from '1' to '2'").
"""

import datetime

import msgspec

from hids.messages.syscheck import FileFact, Who

_encode = msgspec.json.Encoder().encode


class Change(msgspec.Struct, frozen=True):
    """A change worth a line."""

    event: str
    """"added", "modified" or "deleted", as Wazuh names them, or "moved"."""
    text: str
    facts: bytes
    """`"syscheck":{...}`, a member of the alert's JSON."""


_ATTRIBUTES = (
    ("size", "size"),
    ("mode", "permissions"),
    ("uid", "owner"),
    ("gid", "group"),
    ("mtime_ns", "mtime"),
    ("inode", "inode"),
    ("md5", "md5"),
    ("sha1", "sha1"),
    ("sha256", "sha256"),
    ("target", "target"),
    ("links", "links"),
    ("acl", "acl"),
    ("capabilities", "capabilities"),
    ("label", "label"),
    ("xattrs", "xattrs"),
    ("kind", "type"),
)
"""Field of `FileFact` -> the attribute's name in alerts. Order of mention."""

_HASHES = frozenset({"md5", "sha1", "sha256"})
"""Compared only where both sides know them: agents differ in what they compute, and a file may be unreadable for once."""

_QUIET_ALONE = frozenset({"inode", "mtime", "links"})
"""A change of nothing but these is recorded but is no alert: editors, `touch` and package managers do it all day."""

IGNORED = 1_000_000
"""A path that counts so many changes is one of which a person wants to hear no more."""

_GROWS = frozenset({"size", "mtime", "md5", "sha1", "sha256"})
"""What changes when a log grows."""


def compare(before: FileFact | None, now: FileFact, origin: FileFact | None = None) -> Change | None:
    """The change between the manager's baseline and what the agent saw; None when there is nothing to tell.

    Args:
        before: what was known at that path.
        now: what the agent saw. What a first scan finds, or leaves out from now on, is no news.
        origin: what was known at the path that it was moved from.
    """
    if now.gone:
        if before is None or now.seen == "baseline":
            return None
        return _told("deleted", before, msgspec.structs.replace(before, seen=now.seen, who=now.who), ())
    if before is None and origin is not None:
        changed = _changed(origin, now)
        is_quiet = now.seen == "baseline" and set(changed) <= _QUIET_ALONE
        return None if is_quiet else _told("moved", origin, now, changed)
    if before is None:
        return _told("added", None, now, ()) if now.seen != "baseline" else None
    changed = _changed(before, now)
    if set(changed) <= (_QUIET_ALONE | _GROWS if now.grown else _QUIET_ALONE):
        return None
    return _told("modified", before, now, changed)


def _changed(before: FileFact, now: FileFact) -> tuple[str, ...]:
    return tuple(
        "ports" if now.kind == "host" and name == "target" else name
        for field, name in _ATTRIBUTES
        if name not in now.unchecked and _differs(field, getattr(before, field), getattr(now, field))
    )


def _differs(field: str, before: object, now: object) -> bool:
    return before != now and not (field in _HASHES and (not before or not now))


def remembered(before: FileFact | None, now: FileFact) -> FileFact | None:
    """The baseline after a sight of a path. A hash that could not be had this time keeps its last value."""
    if now.gone:
        return None
    same = before is not None and before.kind == now.kind
    kept = {
        name: getattr(before, name) for name in _HASHES if same and getattr(before, name) and not getattr(now, name)
    }
    if not (kept or now.diff or now.moved_from or now.grown or now.who):
        return now
    return msgspec.structs.replace(now, diff="", moved_from="", grown=False, who=None, **kept)


_REGISTRY = {"key": "Registry key", "value": "Registry value"}
_NAMES = {**_REGISTRY, "host": "Host"}
"""Kind of a path -> what the first line calls it; all else is a file."""


def _told(event: str, before: FileFact | None, now: FileFact, changed: tuple[str, ...]) -> Change:
    path = one_line(now.path)
    first = f"{_NAMES.get(now.kind, 'File')} '{path}' {event}" + (f": {', '.join(changed)}" if changed else "")
    details = [f"Moved from '{one_line(now.moved_from)}'"] if now.moved_from else []
    if now.links > 1 and event == "added":
        details.append(f"It is one of {now.links} names of a file (hard links)")
    if now.kind == "host" and before is None:
        details.append(f"Open ports are '{one_line(now.target)}'")
    if before is not None:
        details += [_detail(name, before, now) for name in changed]
    if now.who is not None:
        details.append(_audit_line(now.who))
    return Change(
        event=event,
        text="\n".join((first, *filter(None, details), *_difference(now.diff))),
        facts=b'"syscheck":' + _encode(_object(event, before, now, changed)),
    )


def _detail(name: str, before: FileFact, now: FileFact) -> str:  # noqa: PLR0911, PLR0912 - one line an attribute
    match name:
        case "size":
            return f"Size changed from '{before.size}' to '{now.size}'"
        case "permissions":
            return f"Permissions changed from '{rights(before)}' to '{rights(now)}'"
        case "owner":
            return f"Ownership was '{before.uid}', now it is '{now.uid}'"
        case "group":
            return f"Group ownership was '{before.gid}', now it is '{now.gid}'"
        case "mtime":
            return f"Old modification time was: '{_time(before)}', now it is '{_time(now)}'"
        case "inode":
            return f"Old inode was: '{before.inode}', now it is '{now.inode}'"
        case "md5" | "sha1" | "sha256":
            return f"Old {name}sum was: '{getattr(before, name)}'\nNew {name}sum is : '{getattr(now, name)}'"
        case "ports":
            return f"Open ports were '{one_line(before.target)}', now they are '{one_line(now.target)}'"
        case "target" if now.kind == "value":
            return f"Type was '{one_line(before.target)}', now it is '{one_line(now.target)}'"
        case "target":
            return f"Link pointed to '{one_line(before.target)}', now to '{one_line(now.target)}'"
        case "links":
            return f"Names of the file (hard links) were '{max(before.links, 1)}', now they are '{max(now.links, 1)}'"
        case "acl" | "capabilities" | "label":
            old, new = one_line(getattr(before, name)), one_line(getattr(now, name))
            return f"{_WORDS[name]} '{old}', now '{new}'"
        case "xattrs":
            return "\n".join(_xattr_details(before.xattrs, now.xattrs))
        case _:
            return f"Type was '{before.kind}', now it is '{now.kind}'"


_WORDS = {"acl": "Access list was", "capabilities": "Capabilities were", "label": "SELinux label was"}


def _xattr_details(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"Attribute '{one_line(name)}' was '{one_line(before.get(name, ''))}', now '{one_line(now.get(name, ''))}'"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _difference(diff: str) -> list[str]:
    """Each line indented: what a file says is no word of ours."""
    return ["What changed:", *(f"  {one_line(line)}" for line in diff.splitlines())] if diff else []


def _object(event: str, before: FileFact | None, now: FileFact, changed: tuple[str, ...]) -> dict[str, object]:
    result: dict[str, object] = {"path": one_line(now.path), "event": event, "mode": _seen(now)}
    if now.kind == "value":
        result["path"], _, result["value_name"] = one_line(now.path).partition("\\\\")
    result |= _side("after", now)
    if now.moved_from:
        result["moved_from"] = one_line(now.moved_from)
    if before is not None and event in {"modified", "moved"}:
        result |= {
            key: value
            for key, value in _side("before", before).items()
            if value != result.get(key.replace("_before", "_after"))
        }
        result["changed_attributes"] = list(changed)
    if now.diff:
        result["diff"] = now.diff
    if now.who is not None:
        result["audit"] = _audit(now.who)
    return result


def _audit_line(who: Who) -> str:
    if who.gone:
        return f"(Audit) Process: {who.pid}, which ended before it could be looked at"
    login = f", Login user: '{one_line(who.login_user)}' ({who.login_uid})" if who.login_uid >= 0 else ""
    return (
        f"(Audit) User: '{one_line(who.user)}' ({who.uid}){login}, Process: '{one_line(who.process)}' ({who.pid}), "
        f"Parent: '{one_line(who.parent)}' ({who.ppid}), Command: '{one_line(who.command)}'"
    )


def _audit(who: Who) -> dict[str, object]:
    """Wazuh's `syscheck.audit`; `command` and `gone` are ours."""
    process = {"id": str(who.pid)}
    if who.gone:
        return {"process": process, "gone": True}
    process |= {"name": one_line(who.process), "ppid": str(who.ppid)}
    more = {"parent_name": who.parent, "cwd": who.cwd, "command": who.command}
    process |= {name: one_line(text) for name, text in more.items() if text}
    result: dict[str, object] = {
        "user": {"id": str(who.uid), "name": who.user},
        "effective_user": {"id": str(who.effective_uid), "name": who.effective_user},
        "group": {"id": str(who.gid), "name": who.group},
        "process": process,
    }
    if who.login_uid >= 0:
        result["login_user"] = {"id": str(who.login_uid), "name": who.login_user}
    return result


def _side(side: str, fact: FileFact) -> dict[str, object]:
    if fact.kind == "host":
        return {f"ports_{side}": fact.target}
    if fact.kind in _REGISTRY:
        return _registry_side(side, fact)
    sums: dict[str, object] = {f"{name}_{side}": getattr(fact, name) for name in ("md5", "sha1") if getattr(fact, name)}
    usual: dict[str, object] = {
        f"size_{side}": str(fact.size),
        f"perm_{side}": rights(fact),
        f"uid_{side}": str(fact.uid),
        f"gid_{side}": str(fact.gid),
        f"sha256_{side}": fact.sha256,
        f"uname_{side}": fact.user,
        f"gname_{side}": fact.group,
        f"mtime_{side}": _time(fact),
        f"inode_{side}": fact.inode,
    }
    for attribute in fact.unchecked:
        for member in _MEMBERS.get(attribute, ()):
            usual.pop(f"{member}_{side}", None)
    extended: dict[str, object] = {
        f"{name}_{side}": getattr(fact, name)
        for name in ("links", "acl", "capabilities", "label", "xattrs")
        if getattr(fact, name)
    }
    return sums | usual | extended


def _registry_side(side: str, fact: FileFact) -> dict[str, object]:
    """A key has a time, and a value its data and type besides."""
    members: dict[str, object] = {f"mtime_{side}": _time(fact)}
    if fact.kind == "value":
        members |= {f"size_{side}": str(fact.size), f"sha256_{side}": fact.sha256, f"value_type_{side}": fact.target}
    return members


_MEMBERS = {
    "size": ("size",),
    "permissions": ("perm",),
    "owner": ("uid", "uname"),
    "group": ("gid", "gname"),
    "mtime": ("mtime",),
    "inode": ("inode",),
}
"""Attribute -> members of the alert's `syscheck` that say it."""


def _seen(fact: FileFact) -> str:
    return "realtime" if fact.seen == "live" else "scheduled"


def _time(fact: FileFact) -> str:
    seconds, nanoseconds = divmod(fact.mtime_ns, 1_000_000_000)
    try:
        moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return str(fact.mtime_ns)
    return moment.replace(microsecond=nanoseconds // 1000).isoformat(timespec="seconds").replace("+00:00", "Z")


def rights(fact: FileFact) -> str:
    """Permission bits as `ls` writes them, "rw-r--r--", with setuid, setgid and sticky."""
    letters = ["-"] * 9
    for place in range(9):
        if fact.mode & (1 << (8 - place)):
            letters[place] = "rwx"[place % 3]
    for bit, place, special in ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t")):
        if fact.mode & bit:
            letters[place] = special if letters[place] == "x" else special.upper()
    return "".join(letters)


def one_line(text: str) -> str:
    """A path as it may stand in a line: control characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)
