"""What is mounted where: syscheck stays out of what comes from elsewhere, and of what the kernel makes up.

A network file system whose server is dead stops whoever so much as asks for the status of its mount point; so its name
is known before anything is asked.
"""

import os
import re
from collections.abc import Set as AbstractSet
from pathlib import Path

NETWORK = frozenset(
    "nfs nfs4 cifs smbfs smb3 ncpfs afs coda 9p ceph glusterfs lustre ocfs2 gfs2 beegfs orangefs pvfs2 "
    "fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.rclone fuse.gcsfuse fuse.davfs davfs autofs".split()
)
MADE_UP = frozenset("proc sysfs cgroup cgroup2 debugfs tracefs securityfs configfs bpf pstore efivarfs".split())
MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_NONE: frozenset[str] = frozenset()


class Mounts:
    """Names not to be touched, as of the last refresh."""

    def __init__(self, *, skip_network: bool, mountinfo: Path = MOUNTINFO) -> None:
        self._left_out = MADE_UP | NETWORK if skip_network else MADE_UP
        self._mountinfo = mountinfo
        self._names: dict[str, set[str]] = {}
        self.points: frozenset[str] = _NONE
        self.refresh()

    def refresh(self) -> None:
        """See what is mounted now; where that cannot be known, nothing is left out."""
        try:
            text = os.fsdecode(self._mountinfo.read_bytes())
        except OSError:
            text = ""
        self.points = frozenset(point for point, kind in _mounted(text) if kind in self._left_out)
        self._names = {}
        for point in self.points:
            directory, name = os.path.split(point)
            self._names.setdefault(directory, set()).add(name)

    def names_in(self, directory: str) -> AbstractSet[str]:
        """Names of a directory's entries that are left out."""
        return self._names.get(directory, _NONE)

    def hides(self, path: str) -> bool:
        """Whether a path lies on what is left out."""
        return any(path == point or path.startswith(point.rstrip("/") + "/") for point in self.points)


def _mounted(text: str) -> list[tuple[str, str]]:
    """(mount point, kind of file system) of each line of mountinfo, see proc(5)."""
    mounted: list[tuple[str, str]] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 4:  # noqa: PLR2004 - the fifth field is the mount point
            mounted.append((_unescaped(fields[4]), after.split(" ", 1)[0]))
    return mounted


def _unescaped(path: str) -> str:
    """Blanks and the like are written in octal."""
    return os.fsdecode(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), path).encode("latin-1")) if "\\" in path else path
