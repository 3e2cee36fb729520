"""The live registry, on a Windows that is made up: it was never run on a real one."""

import sys
import types

import pytest

from hids.agent.winregistry import LiveRegistry


def test_the_registry_of_a_windows_that_is_made_up(monkeypatch: pytest.MonkeyPatch):
    values = [("Audit", 1, 4), ("Name", "x", 1)]

    class Key:
        def __enter__(self) -> "Key":  # noqa: PYI034
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def opened(root: str, path: str) -> Key:
        if (root, path) != ("machine", "Soft\\X"):
            raise FileNotFoundError
        return Key()

    fake = types.SimpleNamespace(
        HKEY_LOCAL_MACHINE="machine",
        OpenKey=opened,
        QueryInfoKey=lambda key: (0, len(values), 0),
        EnumValue=lambda key, number: values[number],
    )
    monkeypatch.setitem(sys.modules, "winreg", fake)
    assert LiveRegistry().values("HKLM\\Soft\\X") == {"Audit": "1", "Name": "x"}
    assert LiveRegistry().values("HKEY_LOCAL_MACHINE\\Soft\\X") == {"Audit": "1", "Name": "x"}
    assert LiveRegistry().values("HKLM\\Soft\\Y") is None
    assert LiveRegistry().values("HKXX\\Soft\\Y") is None
