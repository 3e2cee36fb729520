"""Windows' registry, for audit databases. Experimental: it has not been run on a real Windows."""

import importlib
from typing import Any

_ROOTS = {
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCU": "HKEY_CURRENT_USER",
    "HKCR": "HKEY_CLASSES_ROOT",
    "HKU": "HKEY_USERS",
}
MAX_VALUES = 10_000
MAX_TEXT = 4_096


def values(key: str) -> dict[str, str] | None:
    r"""Names and values of a key such as `HKLM\Software\...`; None where there is none that can be read."""
    winreg: Any = importlib.import_module("winreg")
    root, _, path = key.partition("\\")
    handle = getattr(winreg, _ROOTS.get(root.upper(), root.upper()), None)
    if handle is None:
        return None
    try:
        with winreg.OpenKey(handle, path) as opened:
            count = min(winreg.QueryInfoKey(opened)[1], MAX_VALUES)
            return {
                name: str(value)[:MAX_TEXT] for name, value, _ in (winreg.EnumValue(opened, n) for n in range(count))
            }
    except OSError:
        return None
