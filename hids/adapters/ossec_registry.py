r"""`<windows_registry>` and `<registry_ignore>` of an ossec.conf's `<syscheck>`, as tables `[[registry]]` of agent.toml.

OSSEC leaves out a key that is ignored with all below it, and so do the globs that are made here. What cannot be taken over
comes back as a note; what is not known is refused with file and line.
"""

import glob
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from hids.adapters.ossec_sections import sections_of, take_all, text_of
from hids.adapters.ossec_values import alternatives, number, toml_rows, truth
from hids.core.collect.registry import RegistryConfig, check
from hids.core.markup import Element
from hids.errors import ConfigError

Arch = Literal["32", "64", "both"]
_ARCHES: Final[dict[str, Arch]] = {"32bit": "32", "64bit": "64", "both": "both"}
_NOT_TAKEN = {
    "restrict_key": "all keys are checked",
    "restrict_value": "all values are checked",
    "report_changes": "what was in a value is never told",
    "diff_size_limit": "what was in a value is never told",
    "tags": "has no counterpart",
}
"""Attributes of Wazuh's without a counterpart -> what is so instead."""


class Tables(NamedTuple):
    """What a file says of the registry."""

    tables: tuple[RegistryConfig, ...]
    notes: tuple[str, ...]
    """What was not taken over, each with its place."""


def registry_tables(conf: str, text: bytes) -> Tables:
    """Read a file; no tables when syscheck is switched off in it, or it says nothing of the registry.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    taken = _Taken()
    sections = sections_of(conf, text, ("syscheck",))
    take_all([option for section in sections for option in section.children], taken.take)
    tables = () if taken.disabled else tuple(taken.tables())
    check(tables)
    return Tables(tables, tuple(taken.notes) if tables else ())


def as_toml(found: Tables) -> str:
    """The tables with all keys that differ from their defaults, notes as comments."""
    rows = [f"# {note}" for note in found.notes]
    for table in found.tables:
        rows += ["[[registry]]", *toml_rows(table, RegistryConfig(path="")), ""]
    return "\n".join(rows)


class _Taken:
    """What has been read so far."""

    def __init__(self) -> None:
        self.disabled = False
        self.notes: list[str] = []
        self._interval: dict[str, int] = {}
        self._keys: dict[str, dict[str, Any]] = {}
        """Path -> its table."""
        self._ignored: list[tuple[Arch, str]] = []

    def take(self, option: Element) -> None:
        """Read one option.

        Raises:
            ValueError: what is wrong with it.
        """
        text = text_of(option)
        match option.name:
            case "windows_registry":
                self._take_keys(option, text)
            case "registry_ignore":
                arch = _arch(option)
                self._ignored.extend((arch, each) for each in _ignored(option, text))
            case "frequency":
                self._interval = {"scan_interval_s": number("<frequency>", text)}
            case "disabled":
                self.disabled = truth("<disabled>", text)
            case _:
                pass  # of files: hids.adapters.ossec_syscheck

    def tables(self) -> Iterator[RegistryConfig]:
        """One for each key."""
        for path, options in self._keys.items():
            ignore = tuple(dict.fromkeys(_glob(arch, each) for arch, each in self._ignored))
            try:
                yield msgspec.convert({"path": path, "ignore": ignore, **self._interval, **options}, RegistryConfig)
            except msgspec.ValidationError as error:
                raise ConfigError(f"<windows_registry>{path}: {error}") from error

    def _take_keys(self, option: Element, text: str) -> None:
        options: dict[str, Any] = {"arch": _arch(option)}
        for each in option.attributes:
            if each.name == "recursion_level":
                options["recursion"] = number(each.name, each.value)
            elif each.name in _NOT_TAKEN:
                self._note(option, f"{each.name}: {_NOT_TAKEN[each.name]}")
            elif each.name.startswith("check_"):
                if not truth(each.name, each.value):
                    self._note(option, f"{each.name}: keys and values are always checked for all")
            elif each.name != "arch":
                raise ValueError(f"<windows_registry {each.name}=...> is not known")
        for path in filter(None, (part.strip().rstrip("\\") for part in text.split(","))):
            if glob.has_magic(path):
                self._note(option, f"{path}: name the keys; a pattern cannot be taken over")
            elif path in self._keys and self._keys[path]["arch"] != options["arch"]:
                self._keys[path] = {**options, "arch": "both"}
            else:
                self._keys[path] = options

    def _note(self, option: Element, text: str) -> None:
        self.notes.append(str(option.problem(text)))


def _ignored(option: Element, text: str) -> Iterator[str]:
    """Globs over paths of keys, without the view that they begin with."""
    if option.get("type") == "sregex":
        for part in alternatives(text):
            begins, ends = part.startswith("^"), part.endswith("$")
            key = ("" if begins else "*") + glob.escape(part.removeprefix("^").removesuffix("$"))
            yield from (key, f"{key}\\*") if ends else (f"{key}*",)
    elif key := text.rstrip("\\"):
        yield from (glob.escape(key), f"{glob.escape(key)}\\*")


def _glob(arch: Arch, ignored: str) -> str:
    """With the view in front, as the live registry's paths have it."""
    return f"*{ignored}" if arch == "both" else f"{glob.escape(f'[x{arch}] ')}{ignored}"


def _arch(option: Element) -> Arch:
    """OSSEC looks at the view of 32 bits unless it is told otherwise."""
    written = option.get("arch") or "32bit"
    if written not in _ARCHES:
        raise ValueError(f"arch: expected 32bit, 64bit or both, got {written!r}")
    return _ARCHES[written]
