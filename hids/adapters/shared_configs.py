"""The versions of what the manager sets for its agents, in a folder of the manager's state.

    <folder>/000007.json    one version: its files as they were, who applied it and when
    <folder>/rollout.json   which one runs, which one is on trial

Versions are kept, so that any of them can be gone back to.
"""

from pathlib import Path

import msgspec

from hids.adapters.files import private_folder, write_atomically
from hids.core.collect.policy import is_policy_file
from hids.core.collect.shared import Rollout, SharedFile, parse_files
from hids.errors import ConfigError, StoreError

STATE = "rollout.json"
MAX_FILES = 256
MAX_BYTES = 8 * 1024 * 1024
"""Of all files together, policies included; the control socket takes them as JSON."""


class Version(msgspec.Struct, frozen=True):
    """One version."""

    number: int
    files: dict[str, str]
    """Name -> text."""
    by: str
    at_ms: int


class SharedConfigs:
    """Versions and state. For one thread."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, or make it.

        Raises:
            StoreError: it cannot be made.
        """
        private_folder(folder)
        self._folder = folder

    def load(self) -> Rollout:
        """Which version is for whom.

        Raises:
            StoreError: damaged.
        """
        path = self._folder / STATE
        try:
            return msgspec.json.decode(path.read_bytes(), type=Rollout)
        except FileNotFoundError:
            return Rollout()
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; restore it from a backup") from error

    def save(self, rollout: Rollout) -> None:
        """Note it durably.

        Raises:
            StoreError: it cannot be written.
        """
        write_atomically(self._folder / STATE, msgspec.json.encode(rollout))

    def add(self, files: dict[str, str], by: str, at_ms: int) -> Version:
        """Keep a version; returns it with its number.

        Raises:
            StoreError: it cannot be written.
        """
        number = max([0, *(int(path.stem) for path in self._folder.glob("[0-9]*.json"))]) + 1
        version = Version(number, files, by, at_ms)
        write_atomically(self._path(number), msgspec.json.encode(version))
        return version

    def get(self, number: int) -> Version:
        """One version; number 0 is the one that sets nothing.

        Raises:
            ConfigError: there is none.
            StoreError: damaged.
        """
        if number == 0:
            return Version(0, {}, "", 0)
        path = self._path(number)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Version)
        except FileNotFoundError:
            raise ConfigError(f"there is no version {number}; `hidsctl config list` shows all") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error

    def list(self) -> list[Version]:
        """All versions, the oldest first."""
        return [self.get(int(path.stem)) for path in sorted(self._folder.glob("[0-9]*.json"))]

    def files(self, number: int) -> dict[str, SharedFile]:
        """The files of a version, read.

        Raises:
            ConfigError, StoreError: as `get`; a version that no longer passes is not used.
        """
        return parse_files(self.get(number).files)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.json"


def read_files(folder: Path) -> dict[str, str]:
    """The files that a person edits: every *.toml in `folder`, and the policies (*.yml) beside them.

    Raises:
        ConfigError: no such folder, or too much in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; put files such as web.toml there (docs/fleet.md)")
    files: dict[str, str] = {}
    size = 0
    for path in sorted(folder.iterdir()):
        if path.suffix != ".toml" and not is_policy_file(path.name):
            continue
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ConfigError(f"{path}: expected at most {MAX_BYTES} bytes")
            files[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        size += len(files[path.name])
    if len(files) > MAX_FILES or size > MAX_BYTES:
        raise ConfigError(f"{folder}: expected at most {MAX_FILES} files and {MAX_BYTES} bytes")
    return files
