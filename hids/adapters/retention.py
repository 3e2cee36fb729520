"""Retention of the alert files: what was put away is compressed, and removed when its time is over. Each removal is said.

A file is compressed only if it is what was sealed; an altered one is left as it is, and said. The seals of a file go with
it, after a signed head has said which ones they were: so a file that is missing without one was removed by somebody else.
"""

import gzip
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

from hids.adapters.evidence.heads import Heads, whole_lines
from hids.adapters.evidence.verify import check_file
from hids.adapters.files import sync_folder
from hids.adapters.rotated import Rotated, rotated
from hids.core.evidence import Damaged, Head, Sealed, read_chain
from hids.core.retention import Limit, gone
from hids.errors import StoreError
from hids.ports import Clock

LEVEL = 6
"""Of gzip: its own default."""


class FileRetention:
    """Keeps what was put away of some files in their limits. For one thread."""

    def __init__(self, files: Sequence[Path], retired: Heads, clock: Clock, limit: Limit, *, compress: bool) -> None:
        """`retired` takes the heads of what is removed."""
        self._files = files
        self._retired = retired
        self._clock = clock
        self._limit = limit
        self._compress = compress
        self._told: set[Path] = set()

    def run(self) -> list[str]:
        """Do what there is to do; returns what the rules shall see.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            return [*self._pack(), *self._remove()]
        except OSError as error:
            raise StoreError(f"{error.filename or self._files[0].parent}: {error.strerror}") from error

    def _pack(self) -> Iterator[str]:
        for path in self._files:
            for old in rotated(path):
                if old.path.exists() and old.chain.exists() and self._compress:
                    yield from self._pack_one(path, old)

    def _pack_one(self, path: Path, old: Rotated) -> Iterator[str]:
        if not old.packed.exists():
            problem = check_file(path, old.path, old.chain).problem
            if problem is not None:
                if old.path not in self._told:
                    self._told.add(old.path)
                    yield f"records altered: {problem}"
                return
            compress(old.path, old.packed)
        old.path.unlink()

    def _remove(self) -> Iterator[str]:
        kept = sorted(
            ((path, old) for path in self._files for old in rotated(path) if old.there is not None),
            key=lambda one: (one[1].day, one[1].serial, one[1].path.name),
        )
        sized = [((path, old), old.day, _bytes(old)) for path, old in kept]
        current = sum(path.stat().st_size for path in self._files if path.exists())
        for (path, old), reason in gone(sized, current, self._limit, self._today()):
            self._retire(path, old)
            for one in (old.path, old.packed, old.chain):
                one.unlink(missing_ok=True)
            yield f"records removed: {old.path.relative_to(path.parent)}: {reason}"

    def _retire(self, path: Path, old: Rotated) -> None:
        """Sign which seals go."""
        ends = chain_ends(old.chain)
        if ends is None:
            return
        after, last = ends
        name = str(old.path.relative_to(path.parent))
        now_ms = self._clock.now_ms()
        head = Head(path.name, last.seal.n, last.chain, last.seal.last, now_ms, "retired", name, after)
        if self._retired.last is None or self._retired.last.file != name:
            self._retired.add(head)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000).date()  # noqa: DTZ006 - as the files are named


def chain_ends(chain: Path) -> tuple[int, Sealed] | None:
    """Number of the seal before a file's first, and its last seal; None when there is none that can be read."""
    first, last = -1, None
    with suppress(Damaged):
        for read in read_chain(whole_lines(chain)):
            if isinstance(read, Sealed):
                last = read
            else:
                first = read.n
    return (first, last) if last is not None else None


def compress(path: Path, target: Path) -> None:
    """Compress a file; `target` is there whole or not at all, with the file's times."""
    draft = target.with_name(target.name + ".part")
    with path.open("rb") as source, draft.open("wb") as raw:
        draft.chmod(path.stat().st_mode & 0o777)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=0) as packed:
            shutil.copyfileobj(source, packed, 1024 * 1024)
        raw.flush()
        os.fsync(raw.fileno())
    shutil.copystat(path, draft)
    draft.replace(target)
    sync_folder(target.parent)


def _bytes(old: Rotated) -> int:
    total = 0
    for path in (old.path, old.packed, old.chain):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
