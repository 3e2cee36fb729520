"""The section `<syscheck>` of an ossec.conf or agent.conf, as `[syscheck]` of agent.toml.

Several sections add up, as OSSEC reads them. What is not known is refused with file and line; what is known and has its
place elsewhere, or none, comes back as a note. OSSEC's patterns ignore case, ours do not: paths here are as they are.
"""

import glob
import re
import shlex
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import msgspec

from hids.adapters.ossec_sections import sections_of, take_all, text_of
from hids.adapters.ossec_values import alternatives, number, time_of_day, toml_rows, truth
from hids.core.collect.syscheck import DEFAULT_CHECK, DirectoryConfig, SyscheckConfig, check
from hids.core.markup import Element
from hids.errors import ConfigError

_SWITCHES = {"disabled", "scan_on_start", "alert_new_files", "skip_nfs"}
_CHECKS: dict[str, tuple[str, ...]] = {
    "check_sum": ("sha256", "sha1", "md5"),
    "check_md5sum": ("md5",),
    "check_sha1sum": ("sha1",),
    "check_sha256sum": ("sha256",),
    "check_size": ("size",),
    "check_owner": ("owner",),
    "check_group": ("group",),
    "check_perm": ("permissions",),
    "check_mtime": ("mtime",),
    "check_inode": ("inode",),
}
_ELSEWHERE = {
    "registry_nodiff": "has no counterpart: values of the registry are never told",
    "registry_limit": "has no counterpart",
    "auto_ignore": "is auto_ignore in manager.toml now",
    "skip_dev": "has no counterpart: only what is named is looked at",
    "skip_proc": "is always so",
    "skip_sys": "is always so",
    "max_eps": "has no counterpart: nothing is lost however much changes",
    "max_files_per_second": "is max_bytes_per_s now",
    "synchronization": "has no counterpart: the manager has each change once, and hidsctl syscheck verify proves it",
    "database": "has no counterpart",
    "diff": "is diff_max_bytes and diff_budget_bytes now",
}
"""Options that are known and not taken over -> what to know about it."""
_REGISTRY = {"windows_registry", "registry_ignore"}
"""They are tables of their own: hids.adapters.ossec_registry."""
_ATTRIBUTES_ELSEWHERE = {
    "follow_symbolic_link": "links are never followed: name their target",
    "tags": "has no counterpart",
    "diff_size_limit": "is diff_max_bytes in [syscheck] now",
    "check_attrs": "is for Windows",
    "arch": "is for Windows",
}
_OF_WINDOWS = re.compile(r"%|[A-Za-z]:")
"""How its paths begin."""
_WHODATA_ELSEWHERE = {
    "restart_audit": "has no counterpart: no auditd is needed, and one that runs is left alone",
    "audit_key": "has no counterpart: who-data has rules of its own",
    "startup_healthcheck": "is always done, each minute",
}
_MOST_NICE = 19


class Section(NamedTuple):
    """What a file says."""

    config: SyscheckConfig
    notes: tuple[str, ...]
    """What was not taken over, each with its place."""


def syscheck_section(conf: str, text: bytes) -> Section | None:
    """What the file says of syscheck; None when it says nothing.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    sections = sections_of(conf, text, ("syscheck",))
    options = [option for section in sections for option in section.children if option.name not in _REGISTRY]
    taken = _Taken()
    take_all(options, taken.take)
    if not options:
        return None
    try:
        config = msgspec.convert(taken.values, SyscheckConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{conf}: <syscheck>: {error}") from error
    check(config)
    return Section(config, tuple(taken.notes))


def as_toml(section: Section) -> str:
    """The section with all keys that differ from their defaults, notes as comments."""
    config = section.config
    rows = [f"# {note}" for note in section.notes]
    rows += ["[syscheck]", *toml_rows(config, SyscheckConfig(), {"directory"})]
    for folder in config.directory:
        rows += ["", "[[syscheck.directory]]", *toml_rows(folder, DirectoryConfig(path=""))]
    return "\n".join(rows) + "\n"


class _Taken:
    """What has been read so far."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.notes: list[str] = []

    def take(self, option: Element) -> None:
        """Read one option.

        Raises:
            ValueError: what is wrong with it.
        """
        name, text = option.name, text_of(option)
        if name in _ELSEWHERE:
            self._note(option, f"<{name}> {_ELSEWHERE[name]}")
        elif name in _SWITCHES:
            self.values[name] = truth(f"<{name}>", text)
        elif name in self._WITH_PARTS:
            self._WITH_PARTS[name](self, option, text)
        elif name in {"ignore", "nodiff"}:
            self._add(name, _globs(option, text))
        elif name == "frequency":
            self.values["scan_interval_s"] = number(f"<{name}>", text)
        elif name == "scan_day":
            self.values[name] = text.lower()
        elif name == "scan_time":
            self.values[name] = time_of_day(f"<{name}>", text)
        elif name == "prefilter_cmd":
            self.values[name] = shlex.split(text)
        elif name == "process_priority":
            self.values["nice"] = min(_MOST_NICE, max(0, int(text)))
        elif name == "file_limit":
            entries = [child.text.decode().strip() for child in option.children if child.name == "entries"]
            for entry in entries:
                self.values["max_files"] = number("<entries>", entry)
        else:
            raise ValueError(f"<{name}> is not known in <syscheck>")

    def _take_whodata(self, option: Element, _text: str) -> None:
        for child in option.children:
            text = child.text.decode("utf-8", "replace").strip()
            if child.name == "provider" and text == "audit":
                self.values["whodata_provider"] = "audit"
            elif child.name == "provider":
                self._note(child, f'<provider> {text!r} has no counterpart: whodata_provider stays "auto"')
            else:
                self._note(child, f"<{child.name}> {_WHODATA_ELSEWHERE.get(child.name, 'has no counterpart')}")

    def _take_directories(self, option: Element, text: str) -> None:
        values = {each.name: each.value for each in option.attributes}
        options: dict[str, Any] = {"check": _checks(values)}
        for key, value in values.items():
            if key == "realtime" or key == "report_changes":  # noqa: PLR1714 - one key each
                options[key] = truth(key, value)
            elif key == "restrict":
                options[key] = [_expression(value)]
            elif key == "no_recurse":
                if truth(key, value):
                    options["recursion"] = 0
            elif key == "recursion_level":
                options["recursion"] = number(key, value)
            elif key == "whodata":
                options[key] = truth(key, value)
                self._note(option, f"{key}: needs rights that the agent's unit does not give; see docs/whodata.md")
            elif key in _ATTRIBUTES_ELSEWHERE:
                self._note(option, f"{key}: {_ATTRIBUTES_ELSEWHERE[key]}")
            elif key != "check_all" and key not in _CHECKS:
                raise ValueError(f"<directories {key}=...> is not known")
        for path in filter(None, (part.strip().rstrip("/") or part.strip() for part in text.split(","))):
            if _OF_WINDOWS.match(path):
                self._note(option, f"{path}: files of Windows are not watched")
                continue
            known = self.values.setdefault("directory", [])
            known[:] = [each for each in known if each["path"] != path]  # the last one holds
            known.append({"path": path, **options})

    _WITH_PARTS: ClassVar = {"directories": _take_directories, "whodata": _take_whodata}

    def _add(self, name: str, more: Iterable[str]) -> None:
        self.values[name] = [*self.values.get(name, []), *more]

    def _note(self, option: Element, text: str) -> None:
        self.notes.append(str(option.problem(text)))


def _checks(values: dict[str, str]) -> list[str]:
    """What is checked: all, if no option says otherwise."""
    wanted = {name: truth(name, value) for name, value in values.items() if name == "check_all" or name in _CHECKS}
    checks = set[str](DEFAULT_CHECK if wanted.get("check_all", not any(wanted.values())) else ())
    for name, yes in wanted.items():
        if name != "check_all":
            checks = checks | set(_CHECKS[name]) if yes else checks - set(_CHECKS[name])
    return [name for name in (*DEFAULT_CHECK, "sha1", "md5") if name in checks]


def _globs(option: Element, text: str) -> list[str]:
    """Globs for what OSSEC leaves out: what begins so, or what matches an expression of its simple kind."""
    if option.get("type") != "sregex":
        return [f"{glob.escape(text)}*"] if text else []
    return [
        ("" if part.startswith("^") else "*")
        + glob.escape(part.removeprefix("^").removesuffix("$"))
        + ("" if part.endswith("$") else "*")
        for part in alternatives(text)
    ]


def _expression(text: str) -> str:
    """A simple expression of OSSEC as one of Python's."""
    return "|".join(
        ("^" if part.startswith("^") else "")
        + re.escape(part.removeprefix("^").removesuffix("$"))
        + ("$" if part.endswith("$") else "")
        for part in alternatives(text)
    )
