"""Reads a ruleset's folder from disk."""

from pathlib import Path

from hids.core.rules.rule import SourceFile
from hids.errors import ConfigError

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Far above any real rule file (the largest of the public rulesets has 0.4 MB)."""


def read_ruleset(folder: Path) -> list[SourceFile]:
    """All `*.xml` of a folder in the order of their names.

    Raises:
        ConfigError: no such folder, no rule file in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: expected a folder with rule files; set [[ruleset]] path in manager.toml"
        )
    paths = sorted(folder.glob("*.xml"))
    if not paths:
        raise ConfigError(f"{folder}: no *.xml file in it; a ruleset has at least one")
    files: list[SourceFile] = []
    for path in paths:
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise ConfigError(f"{path}: {size} bytes; a rule file has at most {MAX_FILE_BYTES}")
            files.append(SourceFile(path=str(path), text=path.read_bytes()))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    return files
