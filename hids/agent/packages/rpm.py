"""Rpm's database, as the program `rpm` tells it. Blocks."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from hids.agent.packages.database import is_locked, stamp
from hids.core.syscheck.packages import (
    RPM_FILES,
    RPM_PACKAGES,
    Owned,
    Package,
    is_below,
    rpm_files,
    rpm_packages,
)

log = structlog.get_logger()

RPM_S = 120.0
"""So long it may take to answer."""


class Rpm:
    """What `rpm` tells."""

    name = "rpm"

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def token(self) -> object:
        """Whichever file holds the database."""
        return tuple(
            stamp(self._folder / name) for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
        )

    def packages(self) -> dict[str, Package]:
        """By name, architecture and number: several versions may be there."""
        return {
            f"{package.name} {number}": package
            for number, package in rpm_packages(self._ask("-qa", "--qf", RPM_PACKAGES))
        }

    def owned(self, key: str, package: Package, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their digests and targets."""
        number = key.rpartition(" ")[2]
        files = rpm_files(self._ask("-q", "--qf", RPM_FILES, "--querybynumber", number))
        yield from (each for each in files if is_below(each.path, roots))

    def claims(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """Asks rpm for the packages that have one of these files, and for what they say of it."""
        files = rpm_files(self._ask("-qf", "--qf", RPM_FILES, "--", *map(os.fsdecode, paths)))
        return (each for each in files if each.path in paths)

    def is_busy(self) -> bool:
        """Rpm holds its lock."""
        return is_locked(self._folder / ".rpm.lock")

    def _ask(self, *arguments: str) -> Sequence[bytes]:
        try:
            done = subprocess.run(
                [self._program, "--dbpath", str(self._folder), *arguments],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=RPM_S,
                check=False,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("rpm does not answer: no change of a file is explained", reason=str(error))
            return ()
        return done.stdout.splitlines()
