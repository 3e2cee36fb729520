"""The section `<sca>` of a Wazuh agent's ossec.conf, as `[policy]` of agent.toml.

Wazuh looks at every policy in its folder `ruleset/sca`, and at those that are named besides; `enabled="no"` leaves one out. With
`day`, `wday` or `time` its interval counts months, weeks or days: here it is the shortest time from one look to the next, after
which the look waits for that day or time.

In an agent.conf it becomes `[policy]` of a file of agents.d/, with the policies that lie on the manager beside it.
"""

import glob
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from hids.adapters.ossec_sections import sections_of, take_all, text_of
from hids.adapters.ossec_values import number, time_of_day, toml_rows, truth
from hids.core.collect.policy import PolicyConfig, SharedPolicyConfig, check, is_policy_file
from hids.core.collect.schedule import DAYS
from hids.core.markup import Element
from hids.core.policy.texts import check_policies
from hids.errors import ConfigError

FOLDER: Final = "ruleset/sca"
"""Where Wazuh keeps its policies, below its home."""
T = TypeVar("T", PolicyConfig, SharedPolicyConfig)

_DAY_S, _WEEK_S, _MONTH_S = 86_400, 7 * 86_400, 30 * 86_400
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": _DAY_S, "w": _WEEK_S, "M": _MONTH_S}
_SHARED: Final = "etc/shared/"
"""Where an agent of Wazuh's finds what lies beside its agent.conf on the manager."""
_BY_HAND: Final = "put it into agents.d/ as a file such as web.yml, and name it in [policy] files there"
_STAYS: Final = "an agent leaves out a policy only by [policy] ignore in its own agent.toml"
_COMMANDS: Final = "its commands run only on agents whose own agent.toml says [central] accept_commands = true"
_INTERVAL = re.compile(r"(\d{1,9})([smhdwM]?)")
_ELSEWHERE: Final = {
    "request_db_interval": "has no counterpart: each result is told once, when it is news",
    "remote_commands": "is [central] accept_commands, for policies that are signed",
    "synchronization": "has no counterpart",
    "max_eps": "has no counterpart",
}
"""Options that are known and not taken over -> what to know about it."""


class Section(NamedTuple):
    """What a file says."""

    config: PolicyConfig
    notes: tuple[str, ...]
    """What was not taken over, each with its place."""


class SharedSection(NamedTuple):
    """What an agent.conf says."""

    config: SharedPolicyConfig
    texts: dict[str, str]
    """Name in agents.d/ -> text of the policies that are found on the manager."""
    notes: tuple[str, ...]


def sca_section(conf: str, text: bytes, home: str = "/var/ossec") -> Section | None:
    """What the file says of policies; None when it says nothing, or they are switched off.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.
        home: the installation's folder, to which names are relative.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    taken = _read(conf, text)
    if taken is None:
        return None
    folder = PurePosixPath(home)
    files = [str(folder / FOLDER / "*.yml"), *(glob.escape(str(folder / name)) for name in taken.named)]
    ignore = [glob.escape(str(folder / name)) for name in taken.left_out]
    return Section(
        _config(conf, {**taken.values(), "files": files, "ignore": ignore}, PolicyConfig), tuple(taken.notes)
    )


def shared_section(conf: str, text: bytes, home: Path, shared: Path, there: Mapping[str, str]) -> SharedSection | None:
    """What an agent.conf says of policies; None when it says nothing, or they are switched off.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.
        home: the installation's folder, where a policy is looked for.
        shared: the folder of agent.conf; what Wazuh's agents have in their `etc/shared` comes from there.
        there: what goes into agents.d/ already, name -> text.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    taken = _read(conf, text)
    if taken is None:
        return None
    values = taken.values()
    notes = [*taken.notes, *(f"{conf}: <policy> {name}: {_STAYS}" for name in taken.left_out)]
    if values.pop("skip_network", None) is not None:
        notes.append(
            f"{conf}: <skip_nfs> is not taken over: it is skip_network in [policy] of an agent's own agent.toml"
        )
    texts: dict[str, str] = {}
    for written in taken.named:
        try:
            texts |= _policy_of(written, home, shared, {**there, **texts})
        except ConfigError as error:
            notes.append(f"{conf}: <policy> {written} is left out: {error}")
    if texts:
        notes.append(f"{conf}: <sca>: {_COMMANDS}")
    return SharedSection(_config(conf, {**values, "files": list(texts)}, SharedPolicyConfig), texts, tuple(notes))


def _policy_of(name: str, home: Path, shared: Path, there: Mapping[str, str]) -> dict[str, str]:
    """Its name in agents.d/ -> its text. Raises ConfigError: why there is none."""
    inside = name.removeprefix("/var/ossec/")
    path = shared / inside.removeprefix(_SHARED) if inside.startswith(_SHARED) else home / inside
    if not is_policy_file(path.name):
        raise ConfigError(f"its name is none that agents.d/ takes; {_BY_HAND}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}; {_BY_HAND}") from error
    check_policies({path.name: text})
    for free in (path.name, f"{shared.name}-{path.name}"):  # groups may have policies of one name
        if there.get(free, text) == text:
            return {free: text}
    raise ConfigError(f"another policy is called {path.name}; {_BY_HAND}")


def as_toml(section: Section | SharedSection) -> str:
    """The section with all keys that differ from their defaults, notes as comments; empty when nothing is set."""
    rows = [f"# {note}" for note in section.notes]
    keys = list(toml_rows(section.config, type(section.config)()))
    return "\n".join((*rows, "[policy]", *keys)) + "\n" if keys else ""


def _read(conf: str, text: bytes) -> "_Taken | None":
    taken = _Taken()
    options = [option for section in sections_of(conf, text, ("sca",)) for option in section.children]
    take_all(options, taken.take)
    return taken if options and taken.enabled else None


def _config(conf: str, values: dict[str, Any], kind: type[T]) -> T:
    try:
        config = msgspec.convert(values, kind)
        check(config)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{conf}: <sca>: {error}") from error
    return config


class _Taken:
    """What has been read so far."""

    def __init__(self) -> None:
        self.enabled = True
        self.notes: list[str] = []
        self.named: list[str] = []
        """Policies besides, relative to the installation's folder, or absolute."""
        self.left_out: list[str] = []
        self._values: dict[str, Any] = {}
        self._interval_s = 0

    def take(self, option: Element) -> None:
        """Read one option.

        Raises:
            ValueError: what is wrong with it.
        """
        name, text = option.name, text_of(option)
        match name:
            case "enabled":
                self.enabled = truth("<enabled>", text)
            case "scan_on_start":
                self._values["scan_on_start"] = truth("<scan_on_start>", text)
            case "skip_nfs":
                self._values["skip_network"] = truth("<skip_nfs>", text)
            case "interval":
                self._interval_s = _seconds(text)
            case "time":
                self._values["scan_time"] = time_of_day("<time>", text)
            case "day":
                self._values["scan_month_day"] = number("<day>", text)
            case "wday":
                self._values["scan_day"] = _weekday(text)
            case "policies":
                for policy in option.children:
                    self._take_policy(policy)
            case _ if name in _ELSEWHERE:
                self.notes.append(str(option.problem(f"<{name}> {_ELSEWHERE[name]}")))
            case _:
                raise ValueError(f"<{name}> is not known in <sca>")

    def values(self) -> dict[str, Any]:
        """The keys of `[policy]`, but for its files."""
        values = dict(self._values)
        if interval_s := self._shortest_s():
            values["scan_interval_s"] = interval_s
        return values

    def _shortest_s(self) -> int:
        """The interval. Where a look waits for a day, half a day (week, month) less: then it comes on that day in any case."""
        period_s = 0
        if "scan_month_day" in self._values:
            period_s = _MONTH_S
        elif "scan_day" in self._values:
            period_s = _WEEK_S
        elif "scan_time" in self._values:
            period_s = _DAY_S
        if not period_s:
            return self._interval_s
        return max(1, self._interval_s // period_s) * period_s - period_s // 2

    def _take_policy(self, policy: Element) -> None:
        if policy.name != "policy":
            raise ValueError(f"<{policy.name}> is not known in <policies>")
        text = text_of(policy)
        wanted = truth("enabled", policy.get("enabled") or "yes")
        (self.named if wanted else self.left_out).append(text if "/" in text else f"{FOLDER}/{text}")


def _seconds(text: str) -> int:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError(f"<interval>: expected a number with s, m, h, d, w or M, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def _weekday(text: str) -> str:
    """`monday`, or its beginning as Wazuh takes it: `mon`."""
    for day in DAYS:
        if text.lower() in (day, day[:3]):
            return day
    raise ValueError(f"<wday>: expected a day such as monday, got {text!r}")
