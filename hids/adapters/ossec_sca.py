"""The section `<sca>` of a Wazuh agent's ossec.conf, as `[policy]` of agent.toml.

Wazuh looks at every policy in its folder `ruleset/sca`, and at those that are named besides; `enabled="no"` leaves one out. With
`day`, `wday` or `time` its interval counts months, weeks or days: here it is the shortest time from one look to the next, after
which the look waits for that day or time.
"""

import glob
import re
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import msgspec

from hids.adapters.ossec_sections import sections_of, take_all, text_of
from hids.adapters.ossec_values import number, time_of_day, toml_rows, truth
from hids.core.collect.policy import PolicyConfig, check
from hids.core.collect.schedule import DAYS
from hids.core.markup import Element
from hids.errors import ConfigError

FOLDER: Final = "ruleset/sca"
"""Where Wazuh keeps its policies, below its home."""
_DAY_S, _WEEK_S, _MONTH_S = 86_400, 7 * 86_400, 30 * 86_400
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": _DAY_S, "w": _WEEK_S, "M": _MONTH_S}
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


def sca_section(conf: str, text: bytes, home: str = "/var/ossec") -> Section | None:
    """What the file says of policies; None when it says nothing, or they are switched off.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.
        home: the installation's folder, to which names are relative.

    Raises:
        ConfigError: all that is not understood, a line each.
    """
    taken = _Taken(home)
    options = [option for section in sections_of(conf, text, ("sca",)) for option in section.children]
    take_all(options, taken.take)
    if not options or not taken.enabled:
        return None
    try:
        config = msgspec.convert(taken.values(), PolicyConfig)
        check(config)
    except (msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"{conf}: <sca>: {error}") from error
    return Section(config, tuple(taken.notes))


def as_toml(section: Section) -> str:
    """The section with all keys that differ from their defaults, notes as comments."""
    rows = [f"# {note}" for note in section.notes]
    return "\n".join((*rows, "[policy]", *toml_rows(section.config, PolicyConfig()))) + "\n"


class _Taken:
    """What has been read so far."""

    def __init__(self, home: str) -> None:
        self.enabled = True
        self.notes: list[str] = []
        self._home = PurePosixPath(home)
        self._values: dict[str, Any] = {}
        self._files = [str(self._home / FOLDER / "*.yml")]
        self._ignore: list[str] = []
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
        """The keys of `[policy]`."""
        values = {**self._values, "files": self._files, "ignore": self._ignore}
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
        path = str(self._home / text if "/" in text else self._home / FOLDER / text)
        if truth("enabled", policy.get("enabled") or "yes"):
            self._files.append(glob.escape(path))
        else:
            self._ignore.append(glob.escape(path))


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
