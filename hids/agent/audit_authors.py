"""Who changes files, by the kernel's audit: it says who it was with each change, however soon the process ends.

    rules "watch this directory" -> records -> hids.core.collect.auditrecords -> path and process

Its rules are the whole host's: they cost a little at each system call of each process, and are removed at the end; those
that a killed agent left behind are removed at the next start.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress

from hids.agent.accounts import named
from hids.agent.audit import BACKLOG, AuditError, Control, Reader
from hids.agent.authors import Note, Scope
from hids.agent.paths import shown
from hids.agent.process import bounded, parent_of
from hids.core.collect.auditrecords import Assembler, AuditEvent, Item
from hids.messages.syscheck import Who

MAX_PLACES = 65_536
"""Directories and files that are known by their inode: some 15 MiB."""
_MOST_DESCRIPTORS = 1 << 20
"""Larger first arguments of a call are no descriptors."""


class AuditAuthors:
    """Authors by audit. Beside an auditd, or alone."""

    name = "audit"

    def __init__(self, scope: Scope) -> None:
        """Open it, and switch it on.

        Raises:
            AuditError: not on this kernel, or not with these rights.
        """
        self._scope = scope
        self._key = b"hids-whodata-" + hashlib.blake2b(os.fsencode(scope.own), digest_size=4).hexdigest().encode()
        self._assembler = Assembler(self._key)
        self._places: dict[tuple[int, int], str] = {}
        """(device, inode) -> path."""
        self._has_lost = False
        self._lost = 0
        """Records that the kernel says it has lost, as of the last look."""
        self._control = Control()
        try:
            self._reader = Reader()
        except AuditError:
            self._control.close()
            raise
        try:
            self._begin()
        except AuditError:
            self._reader.close()
            self._control.close()
            raise

    def descriptors(self) -> tuple[int, ...]:
        """Of the records."""
        return (self._reader.fileno(),)

    def cover(self, directory: str) -> None:
        """Know a directory by its inode; a folder that asks has a rule for all below it.

        Raises:
            AuditError: the kernel refuses the rule.
        """
        self._learn(directory)
        if directory in self._scope.roots:
            self._watch(directory)

    def prove(self) -> None:
        """Have all rules again, which somebody may have removed, and see whether the kernel has lost records."""
        with suppress(AuditError):  # if that matters, the canary is not told of
            for directory in (self._scope.own, *self._scope.roots):
                self._watch(directory)
            before, self._lost = self._lost, self._control.status().lost
            self._has_lost |= before != self._lost

    @property
    def lacks(self) -> str:
        """Whom the kernel does not look at."""
        return "what ran before audit was switched on is not named: boot with audit=1" if self._was_off else ""

    def take(self, note: Note) -> bool:
        """Tell what has happened."""
        try:
            for record in self._reader.read():
                event = self._assembler.take(record.kind, record.text)
                if event is not None and event.succeeded:
                    self._tell(event, note)
        except OverflowError:
            self._has_lost = True
        lost, self._has_lost = self._has_lost, False
        return lost

    def close(self) -> None:
        """Remove the rules, and leave the host as it was."""
        with suppress(AuditError):  # what stays is removed at the next start
            _, others = self._control.unwatch_all(self._key)
            if self._was_off and not others and not self._control.status().daemon:
                self._control.set_backlog(self._limit)
                self._control.set_enabled(on=False)
        self._control.close()
        self._reader.close()

    def _begin(self) -> None:
        left, _ = self._control.unwatch_all(self._key)
        status = self._control.status()
        self._lost = status.lost
        self._limit = status.backlog_limit
        alone = not status.daemon
        self._was_off = not status.enabled or (
            alone and left > 0
        )  # on, because a killed agent had no time to put it back
        if alone and status.backlog_limit < BACKLOG:
            self._control.set_backlog(BACKLOG)
        if not status.enabled:
            self._control.set_enabled(on=True)
        self._learn(self._scope.own)
        self._watch(self._scope.own)

    def _watch(self, directory: str) -> None:
        if os.path.isdir(directory):
            self._control.watch(os.fsencode(directory), self._key)

    # -- events

    def _tell(self, event: AuditEvent, note: Note) -> None:
        who: Who | None = None
        for path in self._changed(event):
            if self._scope.has(path) and self._scope.matters(os.path.dirname(path)):
                who = who or _who(event)
                note(path, who)

    def _changed(self, event: AuditEvent) -> Iterator[str]:
        """Paths of what a call changed: the nth that comes or goes lies in the nth parent."""
        parents = [item for item in event.items if item.kind == "PARENT"]
        entries = [item for item in event.items if item.kind in ("CREATE", "DELETE")]
        for number, item in enumerate(entries):
            parent = self._directory(event, item, parents[min(number, len(parents) - 1)]) if parents else None
            if parent is not None:
                path = os.path.join(parent, os.fsdecode(os.path.basename(item.name.rstrip(b"/"))))
                if item.kind == "CREATE":
                    self._keep(item, path)
                yield path
        for item in event.items:
            if item.kind == "NORMAL":
                file = self._file(event, item)
                if file is not None:
                    self._keep(item, file)
                    yield file

    def _directory(self, event: AuditEvent, item: Item, parent: Item) -> str | None:
        """The directory in which an entry came or went."""
        spelled = self._spelled(event, item)
        below = os.path.dirname(_unfollowed(spelled)) if spelled else None
        directory = _right((self._places.get(_place(parent)), below), parent.inode)
        if directory is not None:
            self._keep(parent, directory)
        return directory

    def _file(self, event: AuditEvent, item: Item) -> str | None:
        """The file that a call opened or altered."""
        path = self._spelled(event, item) if item.name else _descriptor(event.pid, event.first)
        candidates = (os.path.realpath(path), _unfollowed(path)) if path else ()
        return _right((*candidates, self._places.get(_place(item))), item.inode)

    def _spelled(self, event: AuditEvent, item: Item) -> str | None:
        """The path as the process meant it: its name is below the working directory, or that of a descriptor."""
        name = os.fsdecode(item.name)
        if name.startswith("/"):
            return os.path.normpath(name)
        base = os.fsdecode(event.cwd)
        if event.first < _MOST_DESCRIPTORS:  # openat and its kind
            base = _descriptor(event.pid, event.first)
        return os.path.normpath(os.path.join(base, name)) if base.startswith("/") else None

    def _learn(self, directory: str) -> None:
        try:
            status = os.stat(directory)
        except OSError:
            return
        if len(self._places) < MAX_PLACES:
            self._places[status.st_dev, status.st_ino] = directory

    def _keep(self, item: Item, path: str) -> None:
        if len(self._places) >= MAX_PLACES:
            del self._places[next(iter(self._places))]  # `_learn`, of another thread, adds none to so many
        self._places[_place(item)] = path


def _who(event: AuditEvent) -> Who:
    return named(
        Who(
            pid=event.pid,
            uid=event.uid,
            effective_uid=event.effective_uid,
            login_uid=event.login_uid,
            gid=event.gid,
            process=_text(event.program or event.name),
            command=_text(event.command),
            cwd=_text(event.cwd),
            ppid=event.ppid,
            parent=parent_of(event.pid, event.ppid),
        )
    )


def _text(raw: bytes) -> str:
    return bounded(shown(os.fsdecode(raw)))


def _place(item: Item) -> tuple[int, int]:
    return os.makedev(*item.device), item.inode


def _inode(path: str) -> int:
    """Of what is at a path; 0: nothing."""
    try:
        return os.lstat(path).st_ino
    except OSError as error:
        return 0 if error.errno in (errno.ENOENT, errno.ENOTDIR) else -1


def _unfollowed(path: str) -> str:
    """The path with links resolved, but for its last part."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _right(candidates: tuple[str | None, ...], inode: int) -> str | None:
    """The first path at which this inode is, or else the first at which there is nothing any more."""
    inodes = {path: _inode(path) for path in candidates if path}
    for wanted in (inode, 0):
        for path, found in inodes.items():
            if found == wanted:
                return path
    return None


def _descriptor(pid: int, number: int) -> str:
    """The path of what a process has open under a number; empty when that is no file, or cannot be told any more."""
    if number >= _MOST_DESCRIPTORS:
        return ""
    try:
        path = os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""
    return path if path.startswith("/") else ""
