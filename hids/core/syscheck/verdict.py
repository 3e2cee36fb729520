"""Who answers for a change of a file: a package, somebody who works on the host, or nobody.

A package answers for content that is its own, if it was installed, upgraded or removed just then. It answers for no new
right: a setuid bit, an owner, a capability. Maintenance answers for what belongs to a package and is known to vary or to
be right; what no package explains stays an alert, and says who was at work.
"""

from typing import Literal

import msgspec

from hids.core.syscheck.change import Change, one_line
from hids.messages.baseline import Maintenance
from hids.messages.syscheck import FileFact, Packaged

Verdict = Literal["package", "maintenance", "wrong", ""]
"""A package explains it; it was to be expected in a maintenance; it claims to be a package's and is not; nobody does."""

_BEGINNINGS: dict[Verdict, str] = {
    "package": "Changed by a package: ",
    "maintenance": "Changed in maintenance: ",
    "wrong": "Not what the package has: ",
    "": "",
}
"""Of the line's first words, by which rules/61-baseline.xml knows it."""

_CONTENT = {
    "same": "has this content",
    "other": "has another content there",
    "conffile": "leaves the content to the administrator",
    "unknown": "does not say what its content is",
}

_RIGHTS = 0o6022
"""setuid, setgid, and writable for the group and for all."""

_encode = msgspec.json.Encoder().encode


def judge(change: Change, before: FileFact | None, now: FileFact, work: Maintenance | None) -> Verdict:
    """Who answers for a change.

    Args:
        change: what `compare` says.
        before: as the manager knew the path; None: not at all.
        now: as the agent saw it.
        work: what is going on at the agent.
    """
    package = now.package
    if package is None:
        return ""
    if package.content == "other" and package.recent and change.event != "deleted":
        return "wrong"
    if change.event == "modified" and before is not None and _gains(before, now):
        return ""
    if package.content == "same" and package.recent:
        return "package"
    if work is not None and package.content in ("same", "conffile") and change.event != "deleted":
        return "maintenance"
    return ""


def _gains(before: FileFact, now: FileFact) -> bool:
    """Whether a file may do more, or belongs to another, than before: what packages' databases do not speak of."""
    return bool(now.mode & ~before.mode & _RIGHTS) or (before.uid, before.gid, before.acl, before.capabilities) != (
        now.uid,
        now.gid,
        now.acl,
        now.capabilities,
    )


def tell(change: Change, verdict: Verdict, package: Packaged | None, work: Maintenance | None, changes: int) -> Change:
    """The change with who answers for it.

    Args:
        change: what `compare` says.
        verdict: of `judge`.
        package: that owns the path.
        work: what is going on at the agent.
        changes: how often the path has changed, this time included.
    """
    words: list[str] = [_BEGINNINGS[verdict] + change.text]
    members: dict[str, object] = {}
    if changes:
        members["changes"] = changes
    if verdict:
        members["verdict"] = verdict
    if package is not None:
        name = " ".join(filter(None, (one_line(package.name), one_line(package.version))))
        words.append(f"Package: {name} {_CONTENT[package.content]}")
        members["package"] = {
            "name": package.name,
            "version": package.version,
            "content": package.content,
            "recent": package.recent,
        }
    if work is not None:
        words.append(f"Maintenance: {one_line(work.owner)}: {one_line(work.reason)}")
        members["maintenance"] = {"id": work.id, "owner": work.owner, "reason": work.reason}
    facts = change.facts if not members else change.facts[:-1] + b"," + _encode(members)[1:]
    return msgspec.structs.replace(change, text="\n".join(words), facts=facts)
