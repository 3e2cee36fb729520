"""What syscheck sees on a host: packed in the text of lines, on their way like any others.

agent's syscheck --FileFact, DirectoryDigests, DirectoryListing--> syscheck store
"""

from typing import Annotated, Literal

import msgspec

from hids.messages.terms import ShortText


class Packaged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the host's package manager says of a path (hids.agent.packages). In `FileFact.package`."""

    name: ShortText
    version: ShortText
    content: Literal["same", "other", "conffile", "unknown"] = "unknown"
    """Whether what is there is what the package has there; of a path that is gone: whether the package let go of it.
    "conffile": another content, as it may have, for the package gives it into the administrator's hands. "unknown": the
    package says nothing of the content."""
    recent: bool = False
    """The package was installed, upgraded or removed about when the path changed."""


MAX_PROCESS_TEXT = 512
"""Characters of a process's path or command line; the rest is cut off."""

ProcessText = Annotated[str, msgspec.Meta(max_length=MAX_PROCESS_TEXT)]


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process that changed a path last, as the kernel named it (hids.agent.whodata). In `FileFact.who`."""

    pid: int
    """As the agent's own namespace numbers it; 0: the process is of another."""
    uid: int = -1
    user: ShortText = ""
    effective_uid: int = -1
    effective_user: ShortText = ""
    login_uid: int = -1
    """Of the login that all began with, whatever su and sudo did since; -1: no login."""
    login_user: ShortText = ""
    gid: int = -1
    group: ShortText = ""
    process: ProcessText = ""
    """Path of the program; where that may not be read, its name."""
    command: ProcessText = ""
    """Command line, arguments separated by spaces."""
    cwd: ProcessText = ""
    ppid: int = 0
    parent: ProcessText = ""
    """Path of the parent's program."""
    gone: bool = False
    """It ended before it could be looked at: nothing but `pid` is known."""


class FileFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What syscheck saw of one path. agent's syscheck -> syscheck store, packed in `LogLine.text`."""

    path: str
    seen: Literal["baseline", "scan", "live"]
    """The first scan of a directory, a later scan, or a kernel notification."""
    gone: bool = False
    kind: Literal["file", "dir", "link", "other", "key", "value", "host"] = "file"
    """`key` and `value` are of Windows' registry; a value's `target` is its type. A `host` has its open ports there."""
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    mtime_ns: int = 0
    inode: int = 0
    sha256: str = ""
    """Hex; empty for what is not a regular file or could not be read."""
    target: str = ""
    """Where a symbolic link points."""
    md5: str = ""
    """Hex; where it was asked for, like `sha1`, and of agents of OSSEC and Wazuh."""
    sha1: str = ""
    diff: str = ""
    """What changed inside, if the agent was told to compare. Part of the news, not of the baseline."""
    acl: str = ""
    """POSIX ACL as `getfacl` writes it, entries joined by commas; empty where the mode says it all."""
    capabilities: str = ""
    """File capabilities as `getcap` writes them."""
    label: str = ""
    """SELinux label."""
    xattrs: dict[str, str] = {}
    """Other extended attributes: name -> value, or its SHA-256 where it is long or not text."""
    links: int = 0
    """Names that a regular file has, where it has several (hard links)."""
    grown: bool = False
    """A log that only grew: what was there before is there as it was. Part of the news, not of the baseline."""
    unchecked: tuple[str, ...] = ()
    """Attributes (as alerts name them) that the agent was told to leave alone; they have their default here."""
    moved_from: str = ""
    """The path at which this was before. What is known of it goes with it. Part of the news, not of the baseline."""
    package: Packaged | None = None
    """What owns the path; only of what changed, and only where a package owns it."""
    who: Who | None = None
    """Who made the change, where that was asked for and is known. Part of the news, not of the baseline."""


class DirectoryDigests(msgspec.Struct, frozen=True, array_like=True, tag="digests"):
    """What the agent knows of directories, in order. agent's syscheck -> syscheck store, packed in `LogLine.text`.

    It comes in sequence with the facts, so that it is about what they have told. It speaks for every directory that is above `after` and not above `through`: one that is missing here is empty.
    """

    check: ShortText
    """Names the check that asked."""
    top: str
    """The path below which was asked."""
    after: str
    through: str
    """Empty: to the end."""
    digests: tuple[tuple[str, bytes], ...]
    """(path with its last slash, `directory_digest` of its entries)."""


class DirectoryListing(msgspec.Struct, frozen=True, array_like=True, tag="listing"):
    """What there is in a directory that was looked at anew; sent as `DirectoryDigests` are, behind the facts.

    It speaks for all names that are above `after` and not above `through`.
    """

    folder: str
    """With its last slash."""
    after: str
    through: str
    """Empty: to the end."""
    names: tuple[str, ...]
    """In order."""
