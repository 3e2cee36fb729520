"""What all checks share: which part of the file system, what is left out, and who answers for a program."""

import fnmatch
import os
import re
from collections.abc import Iterator

import psutil

from hids.agent.config import RootcheckConfig
from hids.agent.packages.voucher import Voucher
from hids.agent.paths import Excluded, shown
from hids.core.rootcheck.finding import Finding

Step = Finding | None
"""What a check yields: a finding, or None where it may be made to rest."""
Steps = Iterator[Step]

NETWORK_FILESYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ncpfs",
        "9p",
        "ceph",
        "glusterfs",
        "lustre",
        "fuse.sshfs",
        "fuse.glusterfs",
    ]
)
"""A dead server behind one of them would stop a scan."""
KERNEL_FILESYSTEMS = frozenset(
    [
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "configfs",
        "pstore",
        "efivarfs",
        "fusectl",
        "binfmt_misc",
        "rpc_pipefs",
        "selinuxfs",
        "autofs",
        "nsfs",
        "devpts",
        "mqueue",
        "hugetlbfs",
    ]
)
"""Where the kernel makes up the files."""


class Host:
    """The host as one scan sees it."""

    def __init__(self, config: RootcheckConfig, excluded: Excluded, packages: Voucher | None = None) -> None:
        self.config = config
        self.base = os.path.realpath(config.base_directory)
        self.packages = packages or Voucher(self.base)
        self._excluded = excluded
        self._ignored = [re.compile(fnmatch.translate(pattern)) for pattern in config.ignore]
        self._left_out = set(
            _mounts(KERNEL_FILESYSTEMS | (NETWORK_FILESYSTEMS if config.skip_nfs else frozenset[str]()))
        )

    def path(self, *parts: str) -> str:
        """A path below the base folder."""
        return os.path.join(self.base, *(part.lstrip("/") for part in parts))

    def inside(self, path: str) -> str:
        """A path as the checked system itself would call it: without the base folder."""
        base = self.base.rstrip("/")
        return path.removeprefix(base) if path.startswith(base + "/") else path

    def is_ignored(self, path: str) -> bool:
        """Whether the configuration leaves a path out."""
        return any(pattern.match(path) for pattern in self._ignored)

    def is_left_out(self, folder: str) -> bool:
        """Whether a folder is not entered: left out, the agent's own, or of a file system that is not looked at."""
        return folder in self._left_out or self.is_ignored(folder) or folder in self._excluded

    def shown(self, path: str) -> str:
        """A path in a finding."""
        return shown(path)


def _mounts(kinds: frozenset[str]) -> Iterator[str]:
    for part in psutil.disk_partitions(all=True):
        if part.fstype in kinds:
            yield part.mountpoint
