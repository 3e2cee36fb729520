"""The section `<rootcheck>` of an ossec.conf or agent.conf, as `[rootcheck]` of agent.toml.

Several sections add up, as OSSEC reads them. What is not known is refused with file and line; nothing is guessed.
"""

import glob
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import msgspec

from hids.adapters.ossec_sections import sections_of, take_all, text_of
from hids.adapters.ossec_values import number, toml_rows, truth
from hids.core.collect.rootcheck import RootcheckConfig, check
from hids.core.markup import Element
from hids.errors import ConfigError

_SWITCHES = frozenset(
    (
        *(
            "disabled",
            "scanall",
            "readall",
            "skip_nfs",
            "check_dev",
            "check_files",
            "check_if",
            "check_pids",
            "check_ports",
        ),
        *("check_sys", "check_trojans", "check_unixaudit", "check_winapps", "check_winaudit", "check_winmalware"),
    )
)
_FILES = ("rootkit_files", "rootkit_trojans", "system_audit", "windows_audit", "windows_apps", "windows_malware")


def rootcheck_section(conf: str, text: bytes, home: str = "/var/ossec") -> RootcheckConfig | None:
    """What the file says of rootcheck; None when it says nothing.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.
        home: the installation's folder, to which names of databases are relative.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    options = [option for section in sections_of(conf, text, ("rootcheck",)) for option in section.children]
    values: dict[str, Any] = {"disabled": False}
    take_all(options, lambda option: _take(option, values, home))
    if not options:
        return None
    try:
        config = msgspec.convert(values, RootcheckConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{conf}: <rootcheck>: {error}") from error
    check(config)
    return config


def as_toml(config: RootcheckConfig) -> str:
    """The section with all keys that differ from their defaults."""
    return "\n".join(("[rootcheck]", *toml_rows(config, RootcheckConfig()))) + "\n"


def _take(option: Element, values: dict[str, Any], home: str) -> None:
    name, text = option.name, text_of(option)
    if name in _SWITCHES:
        values[name] = truth(f"<{name}>", text)
    elif name in _FILES:
        _add(values, name, [str(PurePosixPath(home) / text)])
    elif name == "ignore":
        if option.get("type") is not None:
            raise ValueError(
                "<ignore type=...>: no expression can be taken over; write a pattern into ignore = [] instead"
            )
        _add(values, name, (f"{glob.escape(part.strip())}*" for part in text.split(",") if part.strip()))
    elif name == "base_directory":
        values[name] = text
    elif name == "frequency":
        values["frequency_s"] = number("<frequency>", text)
    else:
        raise ValueError(f"<{name}> is not known in <rootcheck>")


def _add(values: dict[str, Any], name: str, more: Iterable[str]) -> None:
    values[name] = [*values.get(name, []), *more]
