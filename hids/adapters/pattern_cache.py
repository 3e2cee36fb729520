"""Compiled pattern sets on disk: what takes Hyperscan seconds at the first start takes milliseconds at the next.

A file a set, named by its content, in a folder named by what it was compiled with: library versions and the CPU's
abilities. So nothing of another machine or version is ever read. Each file begins with the hash of the rest; one that
does not agree is not used, and written anew.
"""

import hashlib
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog

from hids.adapters.files import private_folder, write_atomically
from hids.errors import StoreError

MAX_FILES = 64
"""The sets used longest ago go first; a ruleset has one or two."""
MAX_FILE_BYTES = 256 * 1024 * 1024
"""A set of Wazuh's 2,600 patterns has 4 MB."""

_HASH_BYTES = 32
_LIBRARIES = ("hyperscan", "google-re2")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PatternCache:
    """The sets of one state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / environment()

    def load(self, key: str) -> bytes | None:
        """What was stored under `key` by these libraries for this CPU; None for nothing, or nothing whole."""
        path = self._folder / key
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                return None
            stored = path.read_bytes()
            path.touch()
        except OSError:
            return None
        data = stored[_HASH_BYTES:]
        if hashlib.sha256(data).digest() != stored[:_HASH_BYTES]:
            log.warning("pattern set is damaged, it is compiled anew", path=str(path))
            return None
        return data

    def store(self, key: str, data: bytes) -> None:
        """Keep `data`. A disk that does not take it only costs time at the next start."""
        try:
            private_folder(self._folder)
            write_atomically(self._folder / key, hashlib.sha256(data).digest() + data)
        except StoreError as error:
            log.warning("pattern set is not kept", reason=str(error))
        self._prune()

    def _prune(self) -> None:
        with suppress(OSError):
            by_age = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in by_age[:-MAX_FILES]:
                path.unlink(missing_ok=True)


@cache
def environment() -> str:
    """Names all that decides whether a compiled set can be run here."""
    parts = [platform.machine(), platform.python_implementation(), *map(_version, _LIBRARIES), *_cpu_flags()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"{library} none"


def _cpu_flags() -> list[str]:
    """What the first CPU can do, on Linux; elsewhere its name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return sorted(line.split(":", 1)[1].split())
    except OSError:
        pass
    return [platform.processor()]
