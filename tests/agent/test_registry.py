"""The registry of real hives on a real spool."""

import lzma
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hids.agent.registry import RegistryReader
from hids.agent.registrykeys import RegistryError
from hids.agent.winregistry import LiveView
from hids.core.collect.registry import RegistryConfig, check
from hids.errors import ConfigError
from hids.messages.syscheck import FileFact

Scene = Callable[..., None]
SAMPLES = os.environ.get("HIDS_SAMPLES")
needs_samples = pytest.mark.skipif(not SAMPLES, reason="needs HIDS_SAMPLES, a folder with real hives")
TOP = "HKEY_USERS\\S-1-5-21"


@pytest.fixture
def hives(tmp_path: Path) -> Path:
    for name in ("NTUSER.DAT", "NTUSER_modified.DAT", "corrupted_system_hive"):
        packed = (Path(SAMPLES or "") / "registry" / f"{name}.xz").read_bytes()
        (tmp_path / name).write_bytes(lzma.decompress(packed))
    shutil.copy(tmp_path / "NTUSER.DAT", tmp_path / "hive")
    return tmp_path


def config(hives: Path, **keys: Any) -> RegistryConfig:
    return RegistryConfig(path=TOP, hive=str(hives / "hive"), scan_interval_s=3600, **keys)


async def scan(yard: Any, until: Any, table: RegistryConfig) -> list[FileFact]:
    """Start the actor and let it scan; what it told."""
    before = len(yard.facts)
    state = yard.start(RegistryReader, table.name, table)
    await until(lambda: state.idle)
    return list(yard.facts[before:])


@needs_samples
def test_a_first_scan_then_what_differs_then_nothing(in_yard: Scene, hives: Path):
    async def first(yard: Any, until: Any) -> None:
        facts = await scan(yard, until, config(hives))
        assert len(facts) == 1812 + 4094
        assert Counter(fact.kind for fact in facts) == {"key": 1812, "value": 4094}
        assert {fact.seen for fact in facts} == {"baseline"}
        assert len(yard.lines) < 100  # they share lines

    async def second(yard: Any, until: Any) -> None:
        shutil.copy(hives / "NTUSER_modified.DAT", hives / "hive")
        facts = await scan(yard, until, config(hives))
        assert {fact.seen for fact in facts} == {"scan"}
        gone = {fact.path for fact in facts if fact.gone}
        came = {fact.path for fact in facts if not fact.gone}
        assert gone or came
        assert all(path.startswith(TOP) for path in gone | came)
        assert len(gone | came) < 200

    async def third(yard: Any, until: Any) -> None:
        assert await scan(yard, until, config(hives)) == []

    in_yard(first)
    in_yard(second)
    in_yard(third)


@needs_samples
def test_a_hive_that_breaks_deletes_nothing(in_yard: Scene, hives: Path):
    async def scene(yard: Any, until: Any) -> None:
        await scan(yard, until, config(hives))
        shutil.copy(hives / "corrupted_system_hive", hives / "hive")
        yard.start(RegistryReader, "another life", config(hives))
        await until(lambda: yard.said)
        assert yard.said[0].startswith("source unreadable: ")
        assert "damaged, or no hive" in yard.said[0]
        assert not [fact for fact in yard.facts if fact.gone]

    in_yard(scene)


@needs_samples
def test_what_is_ignored_is_not_told(in_yard: Scene, hives: Path):
    async def scene(yard: Any, until: Any) -> None:
        table = config(hives, keys=("Control Panel",), ignore=("*\\control panel\\DESKTOP*",))
        paths = [fact.path for fact in await scan(yard, until, table)]
        assert TOP + "\\Control Panel\\Colors" in paths
        assert TOP + "\\Control Panel\\Colors\\\\Window" in paths
        assert not [path for path in paths if "\\Control Panel\\Desktop" in path]

    in_yard(scene)


def test_there_is_no_live_registry_here():
    with pytest.raises(RegistryError, match="this host has no registry"):
        LiveView("HKEY_LOCAL_MACHINE\\SOFTWARE", "64", 5)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"path": "HKLM\\X"}, "expected a key such as"),
        ({"path": "HKEY_USERS\\a\\\\b"}, "expected a key such as"),
        ({"path": "HKEY_USERS\\a", "hive": "x"}, "expected an absolute path"),
        ({"path": "HKEY_USERS\\a", "keys": ("b",)}, "goes with hive"),
    ],
)
def test_tables_that_make_no_sense(keys: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        check((RegistryConfig(**keys),))
    with pytest.raises(ConfigError, match="is there twice"):
        check((RegistryConfig(path="HKEY_USERS"), RegistryConfig(path="HKEY_USERS")))
