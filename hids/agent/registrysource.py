r"""Where rules about Windows' registry look for values: the live registry on Windows, hive files anywhere.

Of a machine that does not run there is no `CurrentControlSet`: its hive says in `Select` which set is the current one.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hids.agent.hives import Hive
from hids.agent.registrykeys import Registry, RegistryError, whole_key
from hids.agent.winregistry import LiveRegistry

_CURRENT = "CURRENTCONTROLSET"


def registry_of(hives: Sequence[tuple[str, str]]) -> Registry | None:
    """What a host has: hive files where some are named, else its own registry; None where there is neither.

    Args:
        hives: (what the hive's root is called, its file).
    """
    if hives:
        return HiveRegistry(hives)
    return LiveRegistry() if sys.platform == "win32" else None


class HiveRegistry:
    """Hive files, each at its place. One is read when it is asked for first."""

    def __init__(self, hives: Sequence[tuple[str, str]]) -> None:
        """`hives`: (what the hive's root is called, its file)."""
        named = [(whole_key(top).rstrip("\\"), Path(file)) for top, file in hives]
        self._files = sorted(named, key=lambda each: len(each[0]), reverse=True)
        self._open: dict[Path, Hive] = {}

    def values(self, key: str) -> Mapping[str, str] | None:
        """See `Registry`."""
        wanted = whole_key(key)
        for top, file in self._files:
            if (wanted + "\\").upper().startswith(top.upper() + "\\"):
                hive = self._open.get(file)
                if hive is None:
                    hive = self._open[file] = Hive(file)
                return hive.values(_real_set(hive, wanted[len(top) + 1 :]))
        raise RegistryError(f"{key}: no hive is named that has this key; see [[registry]] hive")


def _real_set(hive: Hive, path: str) -> str:
    first, _, rest = path.partition("\\")
    if first.upper() != _CURRENT:
        return path
    number = {name.upper(): data for name, data in (hive.values("Select") or {}).items()}.get("CURRENT", "")
    return f"ControlSet{int(number):03}\\{rest}" if number.isdecimal() else path
