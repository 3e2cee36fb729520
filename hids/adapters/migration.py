"""An installation of OSSEC or Wazuh -> what it becomes: manager.toml, agent.toml, parts for groups of agents, rules, notes.

Each section of ossec.conf has one reader. What none of them takes over is named in a note, with its place and what to do
instead; nothing is dropped in silence.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import tomli_w

from hids.adapters import ossec_registry, ossec_rootcheck, ossec_sca, ossec_syscheck
from hids.adapters.ossec_commands import is_command
from hids.adapters.ossec_conf import NAMES, reports_toml, ruleset_files
from hids.adapters.ossec_manager import ossec_manager
from hids.adapters.ossec_outputs import ossec_outputs
from hids.adapters.ossec_responses import responses_of
from hids.adapters.ossec_sections import Options, roots_of, sections_of, text_of
from hids.adapters.ossec_sources import ossec_sources
from hids.adapters.rulesets import ORDER, read_lists
from hids.core.collect.source import COMMAND_FORMATS
from hids.core.markup import Element
from hids.core.response.policy import as_toml as responses_toml
from hids.errors import ConfigError

_MANAGER = frozenset(
    (
        *("global", "alerts", "rules", "ruleset", "email_alerts", "syslog_output", "database_output", "remote", "auth"),
        *("agentless", "command", "active-response", "reports", "integration"),
    )
)
_AGENT = frozenset(("localfile", "syscheck", "rootcheck", "labels", "sca"))
_ACCEPT = "it has commands: an agent whose own agent.toml does not say [central] accept_commands = true takes nothing from the manager"
_NOTHING: dict[str, str] = {
    "client": "an agent joins with a token: hids-agent join MANAGER:1515 --token ... (hidsctl agent token prints it)",
    "client_buffer": "what the manager has not committed waits on the agent's disk ([spool]); nothing is dropped",
    "logging": "daemons log to the journal",
    "rule_test": "hidsctl logtest loads the rules by itself",
    "cluster": "one manager, and a standby ([manager] others of agent.toml; docs/fleet.md)",
    "indexer": 'use an [[output]] of type "opensearch" (docs/databases.md)',
    "vulnerability-detection": "there is no vulnerability scanner",
    "vulnerability-detector": "there is no vulnerability scanner",
    "osquery": "run osqueryd as before, and read its results log with a [[source]] of format json",
    "syscollector": "there is no inventory",
    "wodle": "modules are not run; those named command are: each is a [[source]] of format command",
    "docker-listener": "read the journal of docker with a [[source]]",
    "fluent-forward": "use an [[output]], or read alerts.json",
    "socket": "use an [[output]], or read alerts.json",
    "agent-upgrade": "packages are upgraded by your package manager; hidsctl agent upgrade-info says which",
    "task-manager": "packages are upgraded by your package manager; hidsctl agent upgrade-info says which",
    "anti_tampering": "the canary says when an agent is silenced (docs/guarantees.md)",
}
_OF_WAZUH = frozenset(("ruleset", "wodle", "cluster", "sca", "indexer", "vulnerability-detection"))
"""Sections that only Wazuh has."""
_RATHER_WAZUH = frozenset(("auth", "client_buffer"))
"""Those that later versions of OSSEC may have, too: they tell only where no <rules>, which is OSSEC's, says otherwise."""


class Migration(NamedTuple):
    """What an installation becomes."""

    dialect: str
    manager: str
    """manager.toml."""
    agent: str
    """agent.toml of the machine itself; empty when it watched nothing."""
    central: dict[str, str]
    """Files of `agents.d/` -> text, from agent.conf, and the policies that they name."""
    rules: tuple[Path, ...]
    """Decoders and rules, in their order."""
    keys: Path | None
    """client.keys."""
    notes: tuple[str, ...]


def migrate(home: Path, rules: Path, dialect: str = "") -> Migration:
    """Read an installation; nothing is changed.

    Args:
        home: its folder, such as /var/ossec.
        rules: the folder in which the manager will find its rules.
        dialect: "ossec" or "wazuh"; empty: as ossec.conf looks.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    conf = next((home / name for name in NAMES if (home / name).is_file()), None)
    if conf is None:
        raise ConfigError(f"{home}: expected {home / NAMES[0]}; name the folder of an installation, or copy it here")
    text, name = _read(conf), str(conf)
    sections = sections_of(name, text)
    wazuh = dialect == "wazuh" if dialect else _is_wazuh({section.name for section in sections})
    dialect = "wazuh" if wazuh else "ossec"
    notes = [*_not_unicode(name, text), *_left_out(sections)]
    files = ruleset_files(home, name, text)
    manager = _manager(name, text, notes, dialect, home, rules if files else None)
    agent = "\n".join(filter(None, (_agent(name, text, notes, home), _policies(name, text, notes, home))))
    if any(f'"{folder}/' in agent for folder in (home, "/var/ossec")):
        notes.append(
            f"agent.toml reads files of the old installation (signatures, policies, its logs): before {home} is removed, "
            "copy them, and name the copies there"
        )
    notes += _internal(home)
    central = _central(home, notes)
    keys = home / "etc/client.keys"
    return Migration(dialect, manager, agent, central, tuple(files), keys if keys.is_file() else None, tuple(notes))


def copy_rules(migration: Migration, home: Path, folder: Path) -> None:
    """Put rules, decoders and lists into a folder of their own, in their order.

    Raises:
        ConfigError: a file cannot be read or written.
    """
    names: list[str] = []
    try:
        for path in migration.rules:
            inside = path.relative_to(home) if path.is_relative_to(home) else Path(path.name)
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)
            names.append(str(inside))
        for asked, text in read_lists(home).items():
            if asked.startswith("etc/"):
                (folder / asked).parent.mkdir(parents=True, exist_ok=True)
                (folder / asked).write_bytes(text)
        (folder / ORDER).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; rules are copied from {home} to {folder}") from error


def _manager(conf: str, text: bytes, notes: list[str], dialect: str, home: Path, rules: Path | None) -> str:
    wazuh = dialect == "wazuh"
    part = ossec_manager(conf, text, wazuh=wazuh, home=str(home))
    outputs = ossec_outputs(conf, text)
    policy, more = responses_of(conf, text, wazuh=wazuh)
    notes += [*part.notes, *outputs.notes, *more]
    tables: dict[str, Any] = dict(part.tables)
    if rules is not None:
        tables["ruleset"] = [{"path": str(rules), "dialect": dialect, "name": dialect}]
    mailed = any(table["type"] == "email" for table in outputs.tables)
    written = msgspec.structs.replace(outputs, notes=[]).toml().lstrip("\n")
    parts = [tomli_w.dumps(tables), written, responses_toml(policy), reports_toml(conf, text, mailed=mailed)]
    return "\n".join(part for part in parts if part)


def _agent(conf: str, text: bytes, notes: list[str], home: Path) -> str:
    """What an agent's own file and the manager set in the same words."""
    sources = ossec_sources(conf, text)
    notes += sources.notes
    tables: dict[str, Any] = {}
    if labels := _labels(conf, text):
        tables["labels"] = labels
    if sources.tables:
        tables["source"] = sources.tables
    syscheck = ossec_syscheck.syscheck_section(conf, text)
    parts = [tomli_w.dumps(tables) if tables else ""]
    if syscheck is not None:
        notes += syscheck.notes
        parts.append(ossec_syscheck.as_toml(syscheck._replace(notes=())))
    rootcheck = ossec_rootcheck.rootcheck_section(conf, text, str(home))
    if rootcheck is not None:
        parts.append(ossec_rootcheck.as_toml(rootcheck))
    registry = ossec_registry.registry_tables(conf, text)
    notes += registry.notes
    parts.append(ossec_registry.as_toml(registry._replace(notes=())))
    return "\n".join(part for part in parts if part)


def _policies(conf: str, text: bytes, notes: list[str], home: Path) -> str:
    """Those that lie on the machine itself."""
    policies = ossec_sca.sca_section(conf, text, str(home))
    if policies is None:
        return ""
    notes += policies.notes
    return ossec_sca.as_toml(policies._replace(notes=()))


def _labels(conf: str, text: bytes) -> dict[str, str]:
    return {
        label.get("key") or "": text_of(label)
        for section in sections_of(conf, text, ("labels",))
        for label in section.children
        if label.name == "label" and label.get("key")
    }


# ---- what the manager sets for agents ----------------------------------------------------------------------------


def _central(home: Path, notes: list[str]) -> dict[str, str]:
    """Each <agent_config> of each agent.conf becomes a file of agents.d/; the policies that it names go beside it."""
    files: dict[str, str] = {}
    shared = home / "etc/shared"
    for conf in sorted([*shared.glob("agent.conf"), *shared.glob("*/agent.conf")]):
        folder = "all" if conf.parent == shared else conf.parent.name
        notes += _not_unicode(str(conf), _read(conf))
        for number, element in enumerate(roots_of(str(conf), _read(conf)), 1):
            if element.name != "agent_config":
                continue
            notes += _not_central(element)
            place, inside = f"{conf}, <agent_config> number {number}", _written(element)
            parts = [_agent(place, inside, notes, home)]
            if any(table["format"] in COMMAND_FORMATS for table in ossec_sources(place, inside).tables):
                notes.append(f"{place}: {_ACCEPT}")
            policies = ossec_sca.shared_section(place, inside, home, conf.parent, files)
            if policies is not None:
                notes += policies.notes
                files |= policies.texts
                parts.append(ossec_sca.as_toml(policies._replace(notes=())))
            if text := "\n".join(filter(None, parts)):
                match = _match(element, "" if folder in ("all", "default") else folder, str(conf), notes)
                files[f"{folder}-{number:02d}.toml"] = _head(match) + text
    return files


def _not_central(element: Element) -> Iterator[str]:
    for section in element.children:
        if (
            section.name not in _AGENT
            and not is_command(section)
            and not (section.name == "wodle" and _is_off(section))
        ):
            why = _NOTHING.get(section.name, "agents have it in their own agent.toml only")
            yield f"{element.file}:{section.line}: <{section.name}> is not taken over: {why}"


def _head(match: dict[str, list[str]]) -> str:
    members = ", ".join(f"{key} = {json.dumps(words)}" for key, words in match.items())
    return f"match = {{ {members} }}\n\n" if members else ""


def _match(element: Element, group: str, conf: str, notes: list[str]) -> dict[str, list[str]]:
    """`name`, `os` and `profile` are lists with commas; `os` is a part of what uname says."""
    match: dict[str, list[str]] = {"group": [group]} if group else {}
    if profile := element.get("profile"):
        match["group"] = [word.strip() for word in profile.split(",")]
        notes.append(f"{conf}:{element.line}: profile {profile!r} is a group here: hidsctl agent group AGENT {profile}")
    if name := element.get("name"):
        match["name"] = [word.strip() for word in name.replace("|", ",").split(",")]
    if system := element.get("os"):
        match["os"] = [f"*{word.strip().lower()}*" for word in system.replace("|", ",").split(",")]
    return match


def _written(element: Element) -> bytes:
    """An element as text again; the reader makes the same of it."""
    attributes = "".join(f' {each.name}="{each.value}"' for each in element.attributes).encode()
    name = element.name.encode()
    children = b"".join(map(_written, element.children))
    return b"<" + name + attributes + b">" + children + element.text + b"</" + name + b">\n"


# ---- the file as a whole -----------------------------------------------------------------------------------------


def _not_unicode(conf: str, text: bytes) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            yield f"{conf}:{number}: bytes that are no UTF-8 became U+FFFD, which TOML can hold: write the right name"


def _internal(home: Path) -> Iterator[str]:
    """What somebody has set in local_internal_options.conf; internal_options.conf has the defaults."""
    path = home / "etc/local_internal_options.conf"
    if not path.is_file():
        return
    for number, line in enumerate(_read(path).decode("utf-8", "replace").splitlines(), 1):
        setting = line.partition("#")[0].strip()
        if setting:
            yield (
                f"{path}:{number}: {setting} is not taken over: no queue drops anything, so there are no sizes to set; "
                "what is left of it are [limits], [workers] and [alerts] of manager.toml"
            )


def _left_out(sections: list[Element]) -> Iterator[str]:
    for section in sections:
        if section.name in _MANAGER or section.name in _AGENT or is_command(section) or _is_off(section):
            continue
        options = Options(section)
        what, key = f"<{section.name}>", section.name
        if section.name == "wodle":
            module = section.get("name") or ""
            what, key = f'<wodle name="{module}">', module if module in _NOTHING else "wodle"
        elif section.name == "client":
            servers = [options.one(name) for name in ("server-ip", "server-hostname") if name in options]
            what += f" ({', '.join(servers)})" if servers else ""
        if key in _NOTHING:
            yield f"{section.file}:{section.line}: {what} is not taken over: {_NOTHING[key]}"
        else:
            yield f"{section.file}:{section.line}: {what} is not known"


def _is_off(section: Element) -> bool:
    options = Options(section)
    return options.yes("disabled") or options.one("enabled", "yes") == "no"


def _is_wazuh(names: set[str]) -> bool:
    return not _OF_WAZUH.isdisjoint(names) or ("rules" not in names and not _RATHER_WAZUH.isdisjoint(names))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; run this as root, or on a copy") from error
