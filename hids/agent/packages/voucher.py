"""Whether a file is as its package brought it. For rootcheck; blocks.

A program that is as its package brought it is no trojan, whatever texts are in it. Whoever is root can change these databases, too;
so they only take away from what is found by the look of a file, never from what is found hidden.
"""

import hashlib
import os
from collections.abc import Sequence

from hids.agent.checks.regular import open_regular
from hids.agent.packages.database import Aliases, PackageDatabase
from hids.agent.packages.databases import databases_below
from hids.core.syscheck.packages import algorithm_of

HASH_CHUNK = 256 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Larger files are not hashed, and so are nobody's."""


class Voucher:
    """The package databases below a base folder. Answers are kept for one scan."""

    def __init__(self, base: str = "/", databases: Sequence[PackageDatabase] | None = None) -> None:
        """`databases`: those to ask; None: those that are below the base folder."""
        self._base = os.fsencode(base.rstrip("/"))
        self._databases = databases_below(base) if databases is None else databases
        self._aliases = Aliases(base)
        self._answers: dict[str, bool] = {}

    def vouch_for(self, path: str) -> bool:
        """Whether a package owns the file that lies there (links followed), and it is as the package brought it."""
        try:
            real = os.path.realpath(path)
        except OSError:
            return False
        if real not in self._answers:
            self._answers[real] = self._ask(real)
        return self._answers[real]

    def _ask(self, real: str) -> bool:
        spellings = self._aliases.spellings(os.fsencode(real).removeprefix(self._base))
        names = tuple(self._base + name for name in spellings)
        for database in self._databases:
            wanted = {each.digest for each in database.claims(names) if each.digest}
            if wanted:
                return any(_digest(real, algorithm_of(digest)) == digest for digest in wanted)
        return False


def _digest(path: str, algorithm: str) -> str:
    file = open_regular(path)
    if file is None:
        return ""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file:
        left = MAX_FILE_BYTES
        try:
            while left > 0 and (chunk := file.read(HASH_CHUNK)):
                digest.update(chunk)
                left -= len(chunk)
        except OSError:
            return ""
    return digest.hexdigest()
