"""What an ossec.conf or agent.conf says of logs to read, as `[[source]]` tables of agent.toml.

    <localfile>  location, log_format, command, alias, frequency, query, only-future-events, age, exclude, ignore, restrict,
                 label, out_format, multiline_regex, filter
    <wodle name="command">  in hids.adapters.ossec_commands

OSSEC hands commands to a shell. Ours run without one, so a command that needs it names it: `/bin/sh -c '...'`.
"""

import re
import shlex
from typing import Any, NamedTuple

import msgspec

from hids.adapters.ossec_commands import command_table, is_command
from hids.adapters.ossec_sections import Options, sections_of, text_of
from hids.core.collect.source import JOURNAL, SourceConfig, check
from hids.core.markup import Element
from hids.errors import ConfigError

_FREQUENCIES = {"hourly": 3600, "daily": 86_400}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SHELL = re.compile(r"[|&;<>()$`*?\[\]#~=%!{}\n]")
"""What a shell reads as more than a word."""
_NOT_TAKEN = {
    "syslog-pipe": "a named pipe cannot be read twice: let the program write a file, or send syslog",
    "eventlog": 'the old event log: use format = "eventchannel"',
}
_KNOWN = frozenset(
    (
        *("location", "log_format", "command", "alias", "frequency", "query", "only-future-events", "age", "exclude"),
        *("ignore", "restrict", "label", "out_format", "multiline_regex", "filter"),
    )
)
_IGNORED = {
    "target": "nothing else is fed from here",
    "reconnect_time": "it is tried again by itself",
    "ignore_binaries": "there is no need for it",
}


class Sources(NamedTuple):
    """What was found."""

    tables: list[dict[str, Any]]
    """Each is a `[[source]]`."""
    notes: list[str]
    """What was not taken over, each with its place."""


def ossec_sources(conf: str, text: bytes) -> Sources:
    """Read all <localfile> sections, and the commands of Wazuh's modules.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    found = Sources([], [])
    names: set[str] = set()
    for section in sections_of(conf, text, ("localfile", "wodle")):
        if section.name == "wodle" and not is_command(section):
            continue
        make, what = (
            (_table, "<localfile>") if section.name == "localfile" else (command_table, '<wodle name="command">')
        )
        where = f"{conf}:{section.line}: {what}"
        try:
            table = make(section, where, found.notes)
            source = msgspec.convert(table, SourceConfig)
            check(source)
        except (ValueError, ConfigError) as error:
            found.notes.append(f"{where} is left out: {error}")
            continue
        if source.name in names:
            found.notes.append(f"{where} is left out: {source.name!r} is read already")
            continue
        names.add(source.name)
        found.tables.append(table)
    return found


def _table(section: Element, where: str, notes: list[str]) -> dict[str, Any]:
    """Raises ValueError: why there is none."""
    options = Options(section)
    form = options.one("log_format") or "syslog"
    if form in _NOT_TAKEN:
        raise ValueError(f"{form}: {_NOT_TAKEN[form]}")
    notes.extend(f"{where}: <{name}> is not taken over: {why}" for name, why in _IGNORED.items() if name in options)
    unknown = dict.fromkeys(option.name for option in section.children if option.name not in _KNOWN | _IGNORED.keys())
    notes.extend(f"{where}: <{name}> is not known in it" for name in unknown)
    if form in ("command", "full_command"):
        return _command(options, form)
    if form in ("journald", "journal"):
        return {"path": JOURNAL, "format": "journal", **_filter(section)}
    table: dict[str, Any] = {"path": options.one("location"), "format": form}
    if query := options.one("query"):
        table["query"] = query
    if form == "macos":
        table.pop("path")
        return table
    if age := options.one("age"):
        table["max_age_s"] = seconds(age)
    if exclude := options.all("exclude"):
        table["exclude"] = exclude
    for name in ("ignore", "restrict"):
        if patterns := options.all(name):
            table[name] = patterns
            notes.append(f"{where}: <{name}> is taken as one of Python's expressions: look it through")
    if labels := {child.get("key") or "": text_of(child) for child in section.children if child.name == "label"}:
        table["labels"] = labels
    if shown := options.one("out_format"):
        table["out_format"] = shown
    if form == "multi-line-regex":
        table["multiline"] = _multiline(section)
    return table


def _command(options: Options, form: str) -> dict[str, Any]:
    command = options.one("command") or options.one("location")
    if _SHELL.search(command):
        command = f"/bin/sh -c {shlex.quote(command)}"
    table: dict[str, Any] = {"format": form, "command": command}
    if alias := options.one("alias"):
        table["alias"] = alias
    if frequency := options.one("frequency"):
        table["frequency_s"] = _FREQUENCIES.get(frequency) or seconds(frequency)
    return table


def _filter(section: Element) -> dict[str, Any]:
    """Each <filter field="...">; OSSEC and Wazuh take an entry when all of them match."""
    fields = {child.get("field") or "": text_of(child) for child in section.children if child.name == "filter"}
    return {"filter": [fields]} if fields else {}


def _multiline(section: Element) -> dict[str, Any]:
    element = next((child for child in section.children if child.name == "multiline_regex"), None)
    if element is None:
        raise ValueError("multi-line-regex needs <multiline_regex>")
    table: dict[str, Any] = {"regex": text_of(element)}
    match, replace, timeout = element.get("match"), element.get("replace"), element.get("timeout")
    if match is not None:
        table["match"] = match
    if replace is not None:
        table["replace"] = {"no-replace": "keep", "wspace": "space"}.get(replace, replace)
    if timeout is not None:
        table["timeout_s"] = float(seconds(timeout))
    return table


def seconds(text: str) -> int:
    """`90`, `15m`, `1d`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})\s*([smhdw]?)", text)
    if found is None:
        raise ValueError(f"expected a time such as 90, 15m or 1d, got {text[:50]!r}")
    return int(found[1]) * _UNITS[found[2]]
