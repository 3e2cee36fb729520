"""A table `[[registry]]` of agent.toml: keys of Windows' registry that are checked, live or in a hive file."""

from typing import Annotated, Literal

import msgspec

from hids.errors import ConfigError

MAX_TABLES = 256
ROOTS = ("HKEY_LOCAL_MACHINE", "HKEY_CURRENT_USER", "HKEY_USERS", "HKEY_CLASSES_ROOT", "HKEY_CURRENT_CONFIG")


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table."""

    path: str
    r"""The key, such as `HKEY_LOCAL_MACHINE\Software\Microsoft\Windows\CurrentVersion\Run`; of a hive file, what its root is
    called."""
    hive: str = ""
    """A hive file to read. Empty: the live registry, on Windows."""
    keys: tuple[str, ...] = ()
    r"""Of a hive file: only these keys, relative to its root (`ControlSet001\Services`), with all below. None: all."""
    ignore: tuple[str, ...] = ()
    r"""Globs over whole paths of keys and values that are left out; `*` also matches a backslash. Case does not matter."""
    arch: Literal["64", "32", "both"] = "64"
    """Which view of the live registry."""
    recursion: Annotated[int, msgspec.Meta(ge=0, le=512)] = 512
    """Levels below the key."""
    scan_interval_s: Annotated[int, msgspec.Meta(ge=1)] = 43_200
    """From the end of a scan to the next."""

    @property
    def name(self) -> str:
        """What the source is called."""
        return f"registry {self.hive or self.path}"


def check(tables: tuple[RegistryConfig, ...]) -> None:
    """Find what the types cannot say.

    Raises:
        ConfigError: which table and key, what was expected, what came.
    """
    if len(tables) > MAX_TABLES:
        raise ConfigError(f"[[registry]]: at most {MAX_TABLES}, got {len(tables)}")
    seen: set[str] = set()
    for number, table in enumerate(tables, start=1):
        where = f"[[registry]] number {number}"
        if table.path.split("\\", 1)[0].upper() not in ROOTS or table.path.endswith("\\") or "\\\\" in table.path:
            raise ConfigError(rf"{where}: path: expected a key such as HKEY_LOCAL_MACHINE\SOFTWARE, got {table.path!r}")
        if table.hive and not table.hive.startswith("/") and ":" not in table.hive:
            raise ConfigError(f"{where}: hive: expected an absolute path, got {table.hive!r}")
        if table.keys and not table.hive:
            raise ConfigError(f"{where}: keys: goes with hive; of the live registry name the key in path")
        if table.name in seen:
            raise ConfigError(f"{where}: {table.name!r} is there twice")
        seen.add(table.name)
