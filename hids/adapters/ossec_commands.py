r"""A `<wodle name="command">` of Wazuh's ossec.conf or agent.conf, as a `[[source]]` of format "command".

    disabled, tag, command, interval, timeout, ignore_output

Wazuh reports each line that the program prints as it is, from the location `command_TAG`: so do the sources that are made here.
No shell takes part there either; double quotes keep words together, and a backslash takes a space, a quote or a backslash as it is.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from hids.adapters.ossec_sections import Options
from hids.adapters.ossec_values import truth
from hids.core.markup import Element

_DAY_S, _WEEK_S, _MONTH_S = 86_400, 7 * 86_400, 30 * 86_400
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": _DAY_S, "w": _WEEK_S, "M": _MONTH_S}
_PERIODS = {"day": _MONTH_S, "wday": _WEEK_S, "time": _DAY_S}
"""Options that name a time -> the interval that goes with them, where none is given."""
_INTERVAL = re.compile(r"([0-9]{1,9})([smhdwM]?)")
_INTERVAL_S = 2
"""Wazuh's, where none is given."""
_TIMEOUT_S = 60
_CHARACTERS = re.compile(r'\\[ "\\]|.', re.DOTALL)
_EVERYTHING = "^"
_TAKEN = frozenset(("disabled", "tag", "command", "interval", "timeout", "ignore_output"))
_UNCHECKED = "programs are not compared before they run; have [syscheck] watch this one"
_ELSEWHERE = {
    "run_on_start": "it runs when it is due: at once the first time, and after a restart only when its interval is over",
    "verify_md5": _UNCHECKED,
    "verify_sha1": _UNCHECKED,
    "verify_sha256": _UNCHECKED,
    "skip_verification": _UNCHECKED,
    **dict.fromkeys(
        _PERIODS, "it runs at intervals (frequency_s); for a time of day let cron write a file, and read that"
    ),
}
"""Options that are known and have no counterpart -> what is so instead."""


def is_command(section: Element) -> bool:
    """Whether a section is such a module, switched on."""
    return section.name == "wodle" and section.get("name") == "command" and not Options(section).yes("disabled")


def command_table(section: Element, where: str, notes: list[str]) -> dict[str, Any]:
    """Read one that `is_command`, as a `[[source]]`.

    Args:
        section: the module.
        where: begins each note.
        notes: gets what is not taken over.

    Raises:
        ValueError: why there is no source.
    """
    options = Options(section)
    words = list(_words(options.one("command")))
    if not words:
        raise ValueError("<command> is missing")
    for name in dict.fromkeys(option.name for option in section.children):
        if name in _ELSEWHERE:
            notes.append(f"{where}: <{name}> is not taken over: {_ELSEWHERE[name]}")
        elif name not in _TAKEN:
            notes.append(f"{where}: <{name}> is not known in it")
    every_s = _every_s(options)
    table: dict[str, Any] = {
        "format": "command",
        "command": shlex.join(words),
        "alias": f"command_{options.one('tag')}",
        "frequency_s": every_s,
        "timeout_s": _timeout_s(options, every_s),
        "out_format": "$(printed)",
    }
    if truth("<ignore_output>", options.one("ignore_output", "no")):
        table["ignore"] = [_EVERYTHING]
        notes.append(
            f"{where}: <ignore_output> is an expression that leaves out every line; cron does it without an agent"
        )
    return table


def _every_s(options: Options) -> int:
    text = options.one("interval")
    if not text:
        return max((period_s for name, period_s in _PERIODS.items() if name in options), default=_INTERVAL_S)
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError(f"<interval>: expected a number with s, m, h, d, w or M, got {text[:50]!r}")
    return max(1, int(found[1]) * _UNITS[found[2]])


def _timeout_s(options: Options, every_s: int) -> int:
    """Without a limit Wazuh waits as long as it takes: here until the next run is due."""
    text = options.one("timeout", "0")
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"<timeout>: expected seconds, got {text[:50]!r}")
    return int(text) or max(_TIMEOUT_S, every_s)


def _words(command: str) -> Iterator[str]:
    word: str | None = None
    quoted = False
    for character in _CHARACTERS.findall(command):
        if character == '"':
            quoted = not quoted
            word = word or ""
        elif character != " " or quoted:
            word = (word or "") + character[-1]
        elif word is not None:
            yield word
            word = None
    if word is not None:
        yield word
