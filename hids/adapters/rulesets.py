"""Reads a ruleset's folder from disk: its rule and decoder files in their order, and its lists.

A folder is either flat (`*.xml`) or laid out as OSSEC's and Wazuh's are, itself or below `etc/` or `ruleset/`:

    decoders/*.xml    first
    rules/*.xml       then
    lists/            named by rules as `etc/lists/NAME`, `lists/NAME` or `rules/NAME`

What comes with the product (`ruleset/`) counts before what is local (`etc/`), files in the order of their names. Where that
is not the order that the rules need, a file `order` in the folder names them, one a line, relative to it. A folder with an
`etc/ossec.conf` that names its files (OSSEC's /var/ossec) needs none: that order counts.
"""

from collections.abc import Iterator
from pathlib import Path

from hids.adapters import ossec_conf
from hids.core.rules.rule import SourceFile
from hids.errors import ConfigError

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Far above any real rule file (the largest of the public rulesets has 0.4 MB)."""

ORDER = "order"

_ROOTS = ("", "ruleset", "etc")
_LIST_ROOTS = ("", "etc", "ruleset")
"""A local list stands in for one of the same name that comes with the product."""


def read_ruleset(folder: Path) -> list[SourceFile]:
    """The folder's rule and decoder files, in the order in which they count.

    Raises:
        ConfigError: no such folder, no rule file in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder with rule files; set [[ruleset]] path in manager.toml")
    paths = _ordered(folder)
    if not paths:
        raise ConfigError(f"{folder}: no *.xml file in it; a ruleset has at least one")
    return [SourceFile(path=str(path), text=_read(path)) for path in paths]


def read_lists(folder: Path) -> dict[str, bytes]:
    """Text of each list, by every name under which a rule may ask for it.

    Raises:
        ConfigError: one cannot be read.
    """
    lists: dict[str, bytes] = {}
    for root in _LIST_ROOTS:
        for name in ("lists", "rules"):
            base = folder / root / name
            for path in sorted(base.rglob("*")) if base.is_dir() else ():
                if not path.is_file() or path.suffix in (".xml", ".cdb") or path.name.startswith("."):
                    continue
                relative = path.relative_to(base).as_posix()
                text = _read(path)
                for asked in (f"{name}/{relative}", f"etc/{name}/{relative}"):
                    lists.setdefault(asked, text)
    return lists


def _ordered(folder: Path) -> list[Path]:
    order = folder / ORDER
    if order.is_file():
        names = _read(order).decode(errors="replace").splitlines()
        return [folder / name.strip() for name in names if name.strip() and not name.startswith("#")]
    for conf in ossec_conf.NAMES:
        path = folder / conf
        if path.is_file() and (named := ossec_conf.ruleset_files(folder, str(path), _read(path))):
            return named
    flat = sorted(folder.glob("*.xml"))
    return flat or [path for kind in ("decoders", "rules") for path in _of_kind(folder, kind)]


def _of_kind(folder: Path, kind: str) -> Iterator[Path]:
    for root in _ROOTS:
        yield from sorted((folder / root / kind).glob("*.xml"))


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a rule file has at most {MAX_FILE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check its name and permissions") from error
