"""The live registry of Windows, through `winreg`. Experimental: it was never run on a Windows of ours."""

import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, cast

from hids.agent.registrykeys import MAX_VALUES, Key, RegistryError, Value, text_of, value_of, whole_key

_EPOCH_NS = 11_644_473_600 * 1_000_000_000
_TYPES = {
    0: "REG_NONE",
    1: "REG_SZ",
    2: "REG_EXPAND_SZ",
    3: "REG_BINARY",
    4: "REG_DWORD",
    5: "REG_DWORD_BIG_ENDIAN",
    6: "REG_LINK",
    7: "REG_MULTI_SZ",
    8: "REG_RESOURCE_LIST",
    11: "REG_QWORD",
}


class LiveView:
    """The keys below one key."""

    def __init__(self, path: str, arch: str, recursion: int) -> None:
        """View a key.

        Args:
            path: from `HKEY_LOCAL_MACHINE` or the like on.
            arch: "64" or "32".
            recursion: levels below it.

        Raises:
            RegistryError: this is no Windows.
        """
        if os.name != "nt":
            raise RegistryError(f"{path}: this host has no registry; name a hive file with hive = ...")
        self._root, _, self._below = path.partition("\\")
        self._arch = arch
        self._recursion = recursion

    def keys(self) -> Iterator[Key]:
        """See `View`."""
        import winreg as module  # noqa: PLC0415 - Windows only

        winreg: Any = module
        access = winreg.KEY_READ | (winreg.KEY_WOW64_32KEY if self._arch == "32" else winreg.KEY_WOW64_64KEY)
        root = getattr(winreg, self._root.upper())
        prefix = f"[x{self._arch}] {self._root}"
        waiting = [(self._below, 0)]
        while waiting:
            path, depth = waiting.pop()
            try:
                with winreg.OpenKeyEx(root, path, 0, access) as key:
                    below, count, written = winreg.QueryInfoKey(key)
                    values = tuple(_value(winreg.EnumValue(key, number)) for number in range(count))
                    names = [winreg.EnumKey(key, number) for number in range(below)]
            except FileNotFoundError:
                continue  # it went while we looked
            except OSError as error:
                raise RegistryError(f"{prefix}\\{path}: {error.strerror or error}") from error
            yield Key(f"{prefix}\\{path}" if path else prefix, max(0, written * 100 - _EPOCH_NS), values)
            if depth < self._recursion:
                waiting += [(f"{path}\\{name}" if path else name, depth + 1) for name in reversed(names)]


class LiveRegistry:
    """Values of single keys."""

    def values(self, key: str) -> Mapping[str, str] | None:
        """See `Registry`."""
        winreg: Any = importlib.import_module("winreg")
        root, _, path = whole_key(key).partition("\\")
        handle = getattr(winreg, root.upper(), None)
        if handle is None:
            return None
        try:
            with winreg.OpenKey(handle, path) as opened:
                count = min(winreg.QueryInfoKey(opened)[1], MAX_VALUES)
                found = (winreg.EnumValue(opened, number) for number in range(count))
                return {name: text_of(data) for name, data, _ in found}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryError(f"{key}: {error.strerror or error}") from error


def _value(found: tuple[str, Any, int]) -> Value:
    name, data, kind = found
    match data:
        case bytes():
            raw = data
        case list():
            raw = "\0".join(map(str, cast("list[object]", data))).encode("utf-16-le", "surrogatepass")
        case None:
            raw = b""
        case _:
            raw = str(data).encode("utf-16-le", "surrogatepass")
    return value_of(name, _TYPES.get(kind, f"type {kind}"), raw)
