"""One walk over the file system, for all that needs one.

    sys      files of root's that everybody may write to; entries that a folder counts and does not list; sizes that are not so
    setuid   programs that run as their owner and did not at the first scan
    files    files of rootkits that may lie anywhere

Links are not followed, other machines' file systems and the kernel's own are left out.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from hids.agent.checks.hashes import hashes
from hids.agent.checks.host import Host, Step, Steps
from hids.agent.checks.regular import open_regular
from hids.core.rootcheck.finding import Finding, finding
from hids.core.rootcheck.signatures import RootkitFile

SYS, SETUID, FILES, DEV = "sys", "setuid", "files", "dev"
SYSTEM_FOLDERS = (
    *("bin", "sbin", "usr", "lib", "lib32", "lib64", "etc", "opt", "boot", "root", "tmp", "dev/shm", "run"),
    *("var/tmp", "var/log", "var/mail", "var/lib", "var/www", "var/spool", "srv/www"),
)
"""Where system files lie, and where intruders keep their tools; beside /home, of which the top two levels are looked at."""
HOME_DEPTH = 2
MAX_DEPTH = 128
SLICE_ENTRIES = 256
READ_CHUNK = 1024 * 1024
MAX_READ = 16 * 1024 * 1024 * 1024
_RUNS_AS_OTHER = stat.S_ISUID | stat.S_ISGID
TRIES = 3


class Walk:
    """One pass. What it learns of setuid programs is in `census` afterwards."""

    def __init__(self, host: Host, known: Mapping[str, str] | None, anywhere: Sequence[RootkitFile]) -> None:
        """`known`: the census of the scan before, path as shown -> mode and owner; None at the first scan."""
        self._host = host
        self._known = known
        self.census: dict[str, str] = {}
        self._by_name: dict[str, list[RootkitFile]] = {}
        for each in anywhere:
            self._by_name.setdefault(os.path.basename(each.path), []).append(each)

    def steps(self) -> Steps:
        """Walk."""
        for top, depth in self._tops():
            waiting = [(top, depth)]
            while waiting:
                folder, left = waiting.pop()
                info = _lstat(folder)
                if info is None or not stat.S_ISDIR(info.st_mode):
                    continue
                below: list[str] = []
                yield from self._folder(folder, below)
                if left > 1:
                    waiting += [(path, left - 1) for path in below]

    def _tops(self) -> Iterator[tuple[str, int]]:
        host = self._host
        if host.config.scanall:
            yield host.base, MAX_DEPTH
            return
        for name in SYSTEM_FOLDERS:
            yield host.path(name), MAX_DEPTH
        yield host.path("home"), HOME_DEPTH + 1

    def _folder(self, folder: str, below: list[str]) -> Steps:
        """Look at one folder, entry by entry: it may have a million. `below` gets the folders in it."""
        try:
            entries = os.scandir(folder)
        except OSError:
            return
        count = 0
        with entries:
            for number, entry in enumerate(entries, 1):
                info = _info(entry)
                if info is not None and stat.S_ISDIR(info.st_mode):
                    count += 1
                    if not self._host.is_left_out(entry.path):
                        below.append(entry.path)
                elif info is not None and not self._host.is_ignored(entry.path):
                    yield from self._file(entry.path, info)
                if entry.name in self._by_name and not self._host.is_ignored(entry.path):
                    yield from self._rootkit(entry.name, entry.path)
                if number % SLICE_ENTRIES == 0:
                    yield None
        if self._host.config.check_sys:
            yield self._count(folder, count)
        yield None

    def _file(self, path: str, info: os.stat_result) -> Steps:
        config = self._host.config
        if config.check_sys and stat.S_ISREG(info.st_mode):
            if info.st_uid == 0 and info.st_mode & stat.S_IWOTH:
                words = "is owned by root and has written permissions to anyone"
                yield finding(SYS, f"File '{self._host.shown(path)}' {words}.")
            if config.readall:
                yield _size(self._host, path)
        if (
            config.check_setuid
            and info.st_mode & _RUNS_AS_OTHER
            and info.st_mode & 0o111
            and stat.S_ISREG(info.st_mode)
        ):
            yield self._setuid(path, info)

    def _setuid(self, path: str, info: os.stat_result) -> Step:
        shown = self._host.shown(path)
        mode = f"{info.st_mode & 0o7777:o} {info.st_uid}:{info.st_gid}"
        if self._known is None or self._known.get(shown) == mode or self._host.packages.vouch_for(path):
            self.census[shown] = mode
            return None
        bits = [word for bit, word in ((stat.S_ISUID, "user"), (stat.S_ISGID, "group")) if info.st_mode & bit]
        who = " and ".join(f"{word} {info.st_uid if word == 'user' else info.st_gid}" for word in bits)
        return finding(SETUID, f"New setuid program: it runs as {who} for whoever starts it, file '{shown}'.")

    def _rootkit(self, name: str, path: str) -> Steps:
        for each in self._by_name[name]:
            if path.endswith("/" + each.path) and not self._host.packages.vouch_for(path):
                yield rootkit_found(self._host, each, path)

    def _count(self, folder: str, count: int) -> Step:
        """A folder on most file systems has a link for each folder in it, and two of its own."""
        hidden = 0
        for _ in range(TRIES):
            info = _lstat(folder)
            if info is None or info.st_nlink <= count + 2:
                return None
            hidden, listed = info.st_nlink - count - 2, _folders_in(folder)
            if listed is None:
                return None
            if listed != count:  # it has changed meanwhile
                count, hidden = listed, 0
        if not hidden:
            return None
        words = f"has {hidden} folders more than it lists. Something hides there."
        return finding(SYS, f"Folder '{self._host.shown(folder)}' {words}")


def check_dev(host: Host) -> Steps:
    """Look for plain files among the devices."""
    top = host.path("dev")
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            info = _info(entry)
            inside = os.path.relpath(entry.path, top)
            if info is None or inside in _DEV_FOLDERS or host.is_ignored(entry.path):
                continue
            if stat.S_ISDIR(info.st_mode):
                if not host.is_left_out(entry.path):
                    waiting.append(entry.path)
            elif stat.S_ISREG(info.st_mode) and inside not in _DEV_FILES:
                yield finding(DEV, f"File '{host.shown(entry.path)}' present on /dev. Only devices should be there.")
        yield None


_DEV_FOLDERS = frozenset(("shm", "mqueue", "hugepages", "pts", ".udev", ".mdadm", ".lxc", ".lxd-mounts"))
"""Where plain files are at home."""
_DEV_FILES = frozenset(("MAKEDEV", "README", ".udev.tdb", "initctl"))


def rootkit_found(host: Host, entry: RootkitFile, path: str, check: str = FILES) -> Finding:
    """What is told of a file that only a rootkit has."""
    return finding(
        check, f"Rootkit '{entry.name}' detected by the presence of file '{host.shown(path)}'.{hashes(path)}"
    )


def _size(host: Host, path: str) -> Step:
    """Whether a file has as many bytes as the kernel says; a kernel that hides content may lie about either."""
    read = stated = 0
    for _ in range(TRIES):
        sizes = _sizes(path)
        if sizes is None or sizes[0] == sizes[1]:
            return None
        read, stated = sizes
    words = f"It has {read} bytes, and the kernel says {stated}."
    return finding(SYS, f"Anomaly detected in file '{host.shown(path)}'. {words}")


def _sizes(path: str) -> tuple[int, int] | None:
    """Bytes read, and bytes by the kernel's word; None when it cannot be read, or is being written."""
    file = open_regular(path)
    if file is None:
        return None
    with file:
        before = os.fstat(file.fileno())
        length = 0
        try:
            while length < MAX_READ and (chunk := file.read(READ_CHUNK)):
                length += len(chunk)
        except OSError:
            return None
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return (length, before.st_size) if same and length < MAX_READ else None


def _info(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _folders_in(folder: str) -> int | None:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.is_dir(follow_symlinks=False) for entry in entries)
    except OSError:
        return None
