"""Paths as the agent shows them, and those it must not touch."""

import os
from collections.abc import Iterable
from pathlib import Path


def shown(path: str) -> str:
    r"""Spell a path so that it is valid UTF-8 and no two paths look alike: bytes that are not UTF-8 become `\xNN`."""
    if path.isascii() and "\\" not in path:
        return path
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


class Excluded:
    """Folders that are neither read nor watched: our own state and logs, so that nobody reads back what he wrote."""

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self.folders = frozenset(os.path.realpath(folder) for folder in folders)
        """With links resolved."""

    def __contains__(self, path: str) -> bool:
        """Tell whether `path` (links resolved) is one of the folders or below it."""
        real = os.path.realpath(path)
        return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in self.folders)
