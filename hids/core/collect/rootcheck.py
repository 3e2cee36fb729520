"""The section `[rootcheck]` of agent.toml: its keys, and whether they make sense."""

import datetime
from collections.abc import Iterator
from typing import Annotated

import msgspec

from hids.errors import ConfigError

MAX_FILES = 64
"""Databases of one kind."""
MAX_EXCEPTIONS = 1_000


class RootcheckException(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finding that is as it should be."""

    finding: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]
    """Glob over the whole text of the finding."""
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
    """Why, for whoever comes after."""
    until: datetime.date | None = None
    """Last day on which it holds, by the agent's UTC clock; None: for good."""


class RootcheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What rootcheck does. The names are those of OSSEC's `<rootcheck>`, where it has them."""

    disabled: bool = True
    frequency_s: Annotated[int, msgspec.Meta(ge=60, le=366 * 86_400)] = 43_200
    """From the end of one scan to the next."""
    scan_on_start: bool = True
    """Else a scan waits until `frequency_s` after the last one, restarts or not."""
    base_directory: str = "/"
    signatures: bool = True
    """Use those that come with hids."""
    rootkit_files: tuple[str, ...] = ()
    rootkit_trojans: tuple[str, ...] = ()
    system_audit: tuple[str, ...] = ()
    windows_audit: tuple[str, ...] = ()
    windows_apps: tuple[str, ...] = ()
    windows_malware: tuple[str, ...] = ()
    scanall: bool = False
    """Look at the whole file system, not only where system files and intruders' tools mostly lie."""
    readall: bool = False
    """Read every file to its end, and compare its size with what the kernel says."""
    skip_nfs: bool = True
    ignore: tuple[str, ...] = ()
    """Globs over whole paths; `*` also matches `/`."""
    check_dev: bool = True
    check_files: bool = True
    check_if: bool = True
    check_pids: bool = True
    check_ports: bool = True
    check_sys: bool = True
    check_trojans: bool = True
    check_unixaudit: bool = True
    check_winapps: bool = True
    check_winaudit: bool = True
    check_winmalware: bool = True
    check_deleted: bool = True
    check_preload: bool = True
    check_modules: bool = True
    check_setuid: bool = True
    max_rest_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0
    """A scan rests as long as it works, so it takes half a core at most; one rest takes no longer than this."""
    exception: tuple[RootcheckException, ...] = ()

    def databases(self) -> Iterator[tuple[str, str]]:
        """(key, path) of all files named."""
        for key in (
            "rootkit_files",
            "rootkit_trojans",
            "system_audit",
            "windows_audit",
            "windows_apps",
            "windows_malware",
        ):
            for path in getattr(self, key):
                yield key, path


def check(config: RootcheckConfig) -> None:
    """Look for what the types cannot say.

    Raises:
        ConfigError: the first thing that makes no sense.
    """
    if not config.base_directory.startswith("/"):
        raise ConfigError(f"[rootcheck] base_directory: expected an absolute path, got {config.base_directory!r}")
    for key, path in config.databases():
        if not path.startswith("/"):
            raise ConfigError(f"[rootcheck] {key}: expected absolute paths, got {path!r}")
        if len(getattr(config, key)) > MAX_FILES:
            raise ConfigError(f"[rootcheck] {key}: at most {MAX_FILES} files")
    if len(config.exception) > MAX_EXCEPTIONS:
        raise ConfigError(f"[[rootcheck.exception]]: at most {MAX_EXCEPTIONS}, got {len(config.exception)}")
