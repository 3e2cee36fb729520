"""Which package answers for what syscheck found. Blocks; for syscheck's thread.

    facts --> [index of owners, the file's content] --> facts with `package`

A package manager at work is waited for, up to a bound: its files are there before its database says so, and before it
is done nobody can tell its work from somebody else's.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from hids.agent.packages.database import PackageDatabase
from hids.agent.packages.owners import Owner, Owners
from hids.agent.paths import spelled
from hids.core.syscheck.packages import algorithm_of
from hids.messages.syscheck import FileFact, Packaged
from hids.ports import Clock

BUSY_S = 300.0
"""So long a package manager is waited for; then what it does is judged as it is."""
LOOK_S = 0.1
BEFORE_MS = 600_000
"""A package's files are written so long before its list, at most: large ones take minutes."""
AFTER_MS = 60_000
"""... and settled so long after we saw that it is done."""
_CHUNK = 256 * 1024
_PASSING = re.compile(rb"(.+?)(?:\.dpkg-new|\.dpkg-tmp|\.apk-new|;[0-9a-f]{8})")
"""Names under which package managers write a file before it gets its own."""


class Explanation:
    """Explains facts."""

    def __init__(
        self,
        path: Path,
        databases: Sequence[PackageDatabase],
        roots: Iterable[str],
        clock: Clock,
        rest: Callable[[float], None],
    ) -> None:
        """Open the index.

        Args:
            path: of the index.
            databases: of this host; with none nothing is explained.
            roots: what syscheck looks at.
            clock: time.
            rest: waits; raises when the life is over.
        """
        self._databases = databases
        self._owners = Owners(path, databases, roots) if databases else None
        self._clock = clock
        self._rest = rest
        self._patience_ended = False

    def close(self) -> None:
        """Close the index."""
        if self._owners is not None:
            self._owners.close()

    def await_quiet(self) -> None:
        """Wait until no package manager is at work: BUSY_S at most, and once for each time that one is."""
        until_s = self._clock.monotonic_s() + BUSY_S
        while any(database.is_busy() for database in self._databases):
            if self._patience_ended or self._clock.monotonic_s() > until_s:
                self._patience_ended = True
                return
            self._rest(LOOK_S)
        self._patience_ended = False

    def sync(self) -> None:
        """Note what is installed, so that a later change is seen as one."""
        if self._owners is not None:
            self._owners.sync(self._clock.now_ms())

    def explain(self, facts: Iterable[FileFact]) -> list[FileFact]:
        """The facts, those that are news with the package that owns the path."""
        told = list(facts)
        if self._owners is None or all(fact.seen == "baseline" for fact in told):
            return told
        self.await_quiet()
        self.sync()
        return [fact if fact.seen == "baseline" else self._explained(self._owners, fact) for fact in told]

    def _explained(self, owners: Owners, fact: FileFact) -> FileFact:
        path = spelled(fact.path)
        found = owners.of(path)
        passing = _PASSING.fullmatch(path) if not found else None
        if passing is not None and not os.path.lexists(path):
            found = owners.of(passing[1])
            package = _of_passing(found, self._clock.now_ms())
        else:
            package = _of_gone(found, self._clock.now_ms()) if fact.gone else self._of(found, path, fact)
        return fact if package is None else msgspec.structs.replace(fact, package=package)

    def _of(self, found: list[Owner], path: bytes, fact: FileFact) -> Packaged | None:
        """What the owner says of a path that is there."""
        owners = [owner for owner in found if not owner.gone]
        if not owners:
            return None
        try:
            info = os.lstat(path)
        except OSError:
            return _packaged(owners[0], "unknown", recent=False)
        changed_ms = info.st_ctime_ns // 1_000_000
        result = None
        for owner in owners:
            content = self._content(owner, path, fact)
            recent = owner.from_ms - BEFORE_MS <= changed_ms <= owner.to_ms + AFTER_MS
            packaged = _packaged(owner, content, recent=recent)
            if content == "same":
                return packaged
            result = result or packaged
        return result

    def _content(self, owner: Owner, path: bytes, fact: FileFact) -> str:
        owned = owner.owned
        match fact.kind:
            case "dir":
                return "same"
            case "link":
                return self._content_of_link(owner, path)
            case "file" if owned.digest:
                if _digest(path, owned.digest, fact) == owned.digest:
                    return "same"
                return "conffile" if owned.is_conffile else "other"
            case _:
                return "conffile" if owned.is_conffile else "unknown"

    def _content_of_link(self, owner: Owner, path: bytes) -> str:
        """A link is its package's when the package says where it points, or when it points at what a package owns."""
        try:
            target = os.readlink(path)
        except OSError:
            return "unknown"
        if owner.owned.target:
            return "same" if owner.owned.target == target else "other"
        real = os.path.realpath(path)
        return "same" if self._is_owned(real) else "unknown"

    def _is_owned(self, path: bytes) -> bool:
        """Whether a package owns a file, wherever it is; the links of alternatives are nobody's."""
        if os.path.islink(path) or not os.path.exists(path):
            return False
        if self._owners is not None and any(not owner.gone for owner in self._owners.of(path)):
            return True
        return any(True for database in self._databases for _ in database.claims((path,)))


def _of_gone(found: list[Owner], now_ms: int) -> Packaged | None:
    """What is said of a path that is there no more: its package let go of it, or still has it."""
    if not found:
        return None
    owner = found[0]
    return _packaged(owner, "same" if owner.gone else "unknown", recent=owner.gone and now_ms >= owner.from_ms)


def _of_passing(found: list[Owner], now_ms: int) -> Packaged | None:
    """A name that a package manager used for a moment."""
    if not found:
        return None
    owner = found[0]
    return _packaged(owner, "same", recent=owner.from_ms - BEFORE_MS <= now_ms <= owner.to_ms + BEFORE_MS)


def _packaged(owner: Owner, content: str, *, recent: bool) -> Packaged:
    return msgspec.convert(
        {"name": owner.package, "version": owner.version, "content": content, "recent": recent}, Packaged
    )


def _digest(path: bytes, like: str, fact: FileFact) -> str:
    """The file's digest by the algorithm of another. What the fact knows is not read again."""
    algorithm = algorithm_of(like)
    known: str = getattr(fact, algorithm)
    if known:
        return known
    digest = hashlib.new(algorithm, usedforsecurity=False)
    told = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ""
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
                told.update(chunk)
        finally:
            os.close(descriptor)
    except OSError:
        return ""
    # It may have changed since it was looked at: its next notification tells of that.
    return digest.hexdigest() if told.hexdigest() == fact.sha256 or digest.hexdigest() == like else ""
