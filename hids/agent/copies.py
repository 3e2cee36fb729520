"""Copies of text files, so that a change can be told as what changed inside (`report_changes`).

    copies/<hash of the path>/<sha256 of the content>     zstd, mode 0600 in folders of mode 0700

The copy of what was there before is removed only when the change after it is known to be stored: a crash in between
loses no difference. What is over the budget is compared no more.
"""

import difflib
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

import structlog
import zstandard

from hids.messages.syscheck import FileFact

log = structlog.get_logger()

MAX_DIFF_CHARS = 12_000
"""What is told of one change; an alert's line takes 64 KiB with all else."""
MAX_LINE_CHARS = 512
MAX_COMPARED_LINES = 1_000
"""Beyond what is equal at both ends; comparing takes time by the square of it."""
NO_DIFF = "(too many lines changed: {} removed, {} added)"
BINARY = "(not a text file)"
CUT = "(more was changed)"
_NAME_CHARS = 32


class Copies:
    """The kept copies of one agent."""

    def __init__(self, folder: Path, *, max_bytes: int, budget_bytes: int) -> None:
        """`max_bytes` for one file, `budget_bytes` for all."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._budget = budget_bytes
        self._used = _size_of(folder)
        self._full = False

    def difference(self, path: str, before: FileFact | None, now: FileFact) -> str:
        """What changed inside a file since it was `before`; keeps a copy of it as it is `now`. Empty: nothing to tell."""
        if not now.sha256 or now.size > self._max_bytes:
            return ""
        content = self._content(path, now.sha256)
        if content is None:
            return ""
        old = self._load(now.path, before.sha256) if before is not None and before.sha256 else None
        self._drop(now.path, {now.sha256, before.sha256 if before is not None else ""})
        self._keep(now.path, now.sha256, content)
        return unified(old, content) if old is not None and old != content else ""

    def drop(self, path: str) -> None:
        """Remove all copies of a path (as shown) that is gone."""
        if self._used:
            self._drop(path, set())

    def _content(self, path: str, sha256: str) -> bytes | None:
        """The file's content, if it is still the one that was hashed."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = file.read(self._max_bytes + 1)
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def _keep(self, path: str, sha256: str, content: bytes) -> None:
        target = self._path(path, sha256)
        if target.exists():
            return
        packed = zstandard.ZstdCompressor().compress(content)
        if self._used + len(packed) > self._budget:
            if not self._full:
                self._full = True
                log.warning("no more copies of files are kept", used=self._used, to_do="raise diff_budget_bytes")
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        part = target.with_name(f".{target.name}")
        with suppress(FileNotFoundError):
            part.unlink()
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(packed)
        part.replace(target)
        self._used += len(packed)

    def _load(self, path: str, sha256: str) -> bytes | None:
        try:
            packed = self._path(path, sha256).read_bytes()
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=self._max_bytes + 1)
        except (OSError, zstandard.ZstdError):
            return None

    def _drop(self, path: str, keep: set[str]) -> None:
        names = {sha256[:_NAME_CHARS] for sha256 in keep}
        folder = self._folder / _hash(path)
        try:
            copies = [copy for copy in folder.iterdir() if copy.name not in names]
        except OSError:  # there are none
            return
        with suppress(OSError):
            for copy in copies:
                self._used -= copy.stat().st_size
                copy.unlink()
                self._full = False
            if not keep:
                folder.rmdir()

    def _path(self, path: str, sha256: str) -> Path:
        return self._folder / _hash(path) / sha256[:_NAME_CHARS]


def unified(before: bytes, now: bytes) -> str:
    """The difference of two texts as `diff -u` writes it, without its head; bounded in size and time."""
    if b"\0" in before[:8192] or b"\0" in now[:8192]:
        return BINARY
    old, new = _lines(before), _lines(now)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    context = max(0, start - 3)
    old_part, new_part = old[context : len(old) - max(0, end - 3)], new[context : len(new) - max(0, end - 3)]
    if max(len(old_part), len(new_part)) > MAX_COMPARED_LINES:
        return NO_DIFF.format(len(old_part), len(new_part))
    told: list[str] = []
    size = 0
    for line in list(difflib.unified_diff(old_part, new_part, lineterm=""))[2:]:
        size += len(line) + 1
        if size > MAX_DIFF_CHARS:
            told.append(CUT)
            break
        told.append(_moved_on(line, context) if line.startswith("@@") else line)
    return "\n".join(told)


def _moved_on(head: str, lines: int) -> str:
    """A head such as "@@ -1,4 +1,5 @@" for texts of which so many lines at the start were not compared."""
    if not lines:
        return head
    _, old, new, _ = head.split(" ")
    return f"@@ {_shifted(old, lines)} {_shifted(new, lines)} @@"


def _shifted(part: str, lines: int) -> str:
    number, comma, count = part[1:].partition(",")
    return f"{part[0]}{int(number) + lines}{comma}{count}"


def _lines(content: bytes) -> list[str]:
    """Lines as they may be told: what is no UTF-8 is spelled out."""
    return [line[:MAX_LINE_CHARS] for line in content.decode("utf-8", "backslashreplace").split("\n")]


def _hash(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:_NAME_CHARS]


def _size_of(folder: Path) -> int:
    try:
        return sum(copy.stat().st_size for copy in folder.glob("*/*"))
    except OSError:
        return 0
