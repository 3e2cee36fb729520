"""Paths as the agent shows them, and those it must not touch."""

import os
import re
from collections.abc import Iterable
from pathlib import Path


def shown(path: str) -> str:
    r"""Spell a path so that it is valid UTF-8 and no two paths look alike: bytes that are not UTF-8 become `\xNN`."""
    if path.isascii() and "\\" not in path:
        return path
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


_SPELLED = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def spelled(path: str) -> bytes:
    """The path that `shown` spelled so."""
    return _SPELLED.sub(
        lambda found: b"\\" if found[1] == b"\\" else bytes.fromhex(found[1][1:].decode()), path.encode()
    )


class Excluded:
    """Folders that are neither read nor watched: our own state and logs, so that nobody reads back what he wrote."""

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self.folders = frozenset(os.path.realpath(folder) for folder in folders)
        """With links resolved."""

    def __contains__(self, path: str) -> bool:
        """Tell whether `path` (links resolved) is one of the folders or below it."""
        real = os.path.realpath(path)
        return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in self.folders)
