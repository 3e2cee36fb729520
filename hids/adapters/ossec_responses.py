"""Active responses of an `ossec.conf`, as sections of manager.toml.

<command>          name, executable, expect, timeout_allowed, extra_args
<active-response>  command, location, agent_id, level, rules_group, rules_id, timeout, repeated_offenders, disabled
<global>           <white_list>, <allow_list>
"""

import msgspec

from hids.adapters.ossec_sections import sections_of, text_of
from hids.core.markup import Element
from hids.core.response.policy import (
    BUILT_IN,
    Command,
    Expect,
    Location,
    Policy,
    Response,
    ResponseLimits,
    networks_of,
)
from hids.errors import ConfigError


def responses_of(conf: str, text: bytes, *, wazuh: bool) -> tuple[Policy, list[str]]:
    """Its commands and active responses as ours, and what could not be taken over, in words.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    notes: list[str] = []
    commands = [
        command
        for element in sections_of(conf, text, ("command",))
        if (command := _command(element, notes)) is not None
    ]
    responses: list[Response] = []
    for element in sections_of(conf, text, ("active-response",)):
        responses += _responses(element, {command.name for command in commands}, len(responses), notes, wazuh=wazuh)
    allow = [
        text_of(option)
        for section in sections_of(conf, text, ("global",))
        for option in section.children
        if option.name in ("white_list", "allow_list")
    ]
    networks = tuple(word for word in allow if _is_network(word, notes))
    if any(response.location == "server" for response in responses):
        notes.append(
            'location "server": such a response is disabled: name the agent on the manager\'s own host in [responses] '
            "server_agent, and take its disabled away"
        )
    return Policy(limits=ResponseLimits(allow=networks), commands=tuple(commands), responses=tuple(responses)), notes


def _command(element: Element, notes: list[str]) -> Command | None:
    options = {option.name: text_of(option) for option in element.children}
    name, executable = options.get("name", ""), options.get("executable", "")
    if not name or not executable:
        notes.append(f"line {element.line}: a <command> without name or executable is left out")
        return None
    action = executable.rsplit(".", 1)[0] if executable.endswith((".sh", ".cmd", ".exe")) else executable
    action = {"restart-ossec": "restart", "restart-wazuh": "restart", "firewalld-drop": "firewall-drop"}.get(
        action, action
    )
    if action not in BUILT_IN:
        action = executable
        notes.append(
            f"command {name}: {executable} is a script: put it into /etc/hids/responses on each agent that runs it"
        )
    words = options.get("expect", "").replace(",", " ").split()
    known: dict[str, Expect] = {"srcip": "srcip", "user": "user", "username": "user", "filename": "filename"}
    expect: tuple[Expect, ...] = tuple(known[word] for word in words if word in known)
    return Command(
        name=name,
        executable="" if action == name else action,
        expect=None if action in BUILT_IN else expect,
        timeout_allowed=options.get("timeout_allowed", "yes" if action in BUILT_IN else "no") != "no",
        extra_args=tuple(options.get("extra_args", "").split()),
    )


def _responses(element: Element, commands: set[str], count: int, notes: list[str], *, wazuh: bool) -> list[Response]:
    """One section; several locations or repeats of an element are several responses, as upstream takes them."""
    options: dict[str, str] = {}
    for option in element.children:
        options[option.name] = text_of(option)
    name = options.get("command", "")
    disabled = options.get("disabled", "no") == "yes"
    if not name:
        if disabled:
            notes.append(
                f'line {element.line}: <disabled>yes</disabled> switches all responses off: set [responses] mode = "off"'
            )
        return []
    if name not in commands and name not in BUILT_IN:
        notes.append(f"line {element.line}: there is no <command> {name}; its response is left out")
        return []
    found: list[Response] = []
    for location in (word.strip().lower() for word in options.get("location", "local").split(",")):
        where = _LOCATIONS.get(location)
        if where is None:
            notes.append(f"line {element.line}: location {location!r} is not known and is left out")
            continue
        timeout = options.get("timeout", "0")
        found.append(
            Response(
                command=name,
                name=f"{name}-{count + len(found) + 1}",
                location=where,
                agent=options.get("agent_id", "") if where == "defined-agent" else "",
                level=_number(options.get("level", "0")),
                groups=tuple(_pattern(word) for word in options.get("rules_group", "").split("|") if word.strip(" ,")),
                rules=tuple(_number(word) for word in options.get("rules_id", "").replace(",", " ").split()),
                match="all" if wazuh else "any",
                timeout_s=_number(timeout),
                repeated_offenders=tuple(
                    number for word in options.get("repeated_offenders", "").split(",") if (number := _number(word))
                ),
                disabled=disabled or where == "server",  # until somebody says which agent that is
            )
        )
    if all(response.level or response.groups or response.rules for response in found):
        return found
    notes.append(f"line {element.line}: {name} is for every alert; here that is level = 1")
    return [msgspec.structs.replace(response, level=1) for response in found]


_LOCATIONS: dict[str, Location] = {
    "local": "local",
    "server": "server",
    "analysisd": "server",
    "analysis-server": "server",
    "as": "server",
    "defined-agent": "defined-agent",
    "defined_agent": "defined-agent",
    "all": "all",
    "any": "all",
}


def _pattern(word: str) -> str:
    """Upstream looks for the word anywhere among the groups; a comma at an end means that the name ends there."""
    text = word.strip()
    return ("" if text.startswith(",") else "*") + text.strip(" ,") + ("" if text.endswith(",") else "*")


def _number(text: str) -> int:
    word = text.strip()
    return int(word[:8]) if word.isascii() and word.isdecimal() else 0


def _is_network(word: str, notes: list[str]) -> bool:
    try:
        networks_of((word,), "white_list")
    except ConfigError:
        notes.append(f"white_list: {word!r} is no address or network and is left out: names are not looked up")
        return False
    return True
