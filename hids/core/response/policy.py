"""What people set about responses: `[responses]`, `[[command]]` and `[[response]]` of manager.toml."""

import fnmatch
import ipaddress
import re
from typing import Annotated, Literal

import msgspec

from hids.core.response.target import Network, user_of
from hids.errors import ConfigError

Expect = Literal["srcip", "user", "filename"]
Location = Literal["local", "server", "defined-agent", "all"]

MAX_TIMEOUT_S = 366 * 86_400
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

BUILT_IN: dict[str, tuple[Expect, ...]] = {
    "firewall-drop": ("srcip",),
    "host-deny": ("srcip",),
    "route-null": ("srcip",),
    "disable-account": ("user",),
    "restart": (),
    "cloudflare": ("srcip",),
    "aws-waf": ("srcip",),
}
"""Actions that agents can do by themselves -> what they need of an alert. Every other executable is a script."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[command]]`: what can be done."""

    name: str
    executable: str = ""
    """A built-in action, or the file name of a script on the agent; empty: as `name`."""
    expect: tuple[Expect, ...] | None = None
    """Without these in the alert it is not done; None: what the built-in action needs."""
    timeout_allowed: bool = True
    extra_args: tuple[str, ...] = ()
    form: Literal["ossec", "wazuh"] = "ossec"
    """How a script is called: with positional arguments, or with JSON on its standard input."""

    @property
    def action(self) -> str:
        """The built-in action or the script."""
        return self.executable or self.name

    @property
    def once(self) -> bool:
        """It happens and is over: there is nothing to undo."""
        return self.action == "restart" or (not self.timeout_allowed and self.action not in BUILT_IN)

    @property
    def ends(self) -> bool:
        """It is undone when its time is over."""
        return self.timeout_allowed and not self.once

    @property
    def needs(self) -> tuple[Expect, ...]:
        """What an alert must have."""
        return self.expect if self.expect is not None else BUILT_IN.get(self.action, ())


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[response]]`: when and where a command is run."""

    command: str
    name: str = ""
    """Part of its orders' ids; empty: as the command."""
    location: Location = "local"
    agent: str = ""
    """For "defined-agent": id or name."""
    level: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    """From this rule level on; 0: the level is no reason."""
    groups: tuple[str, ...] = ()
    """Rules of these groups; * stands for anything."""
    rules: tuple[int, ...] = ()
    match: Literal["any", "all"] = "any"
    """"any": one of level, groups and rules is enough (OSSEC). "all": level and groups together, or a rule (Wazuh)."""
    timeout_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMEOUT_S)] = 600
    """Then it is undone; 0: never."""
    repeated_offenders: tuple[Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_S // 60)], ...] = ()
    """Minutes for the second time, the third, ...; the last one goes on."""
    disabled: bool = False

    @property
    def label(self) -> str:
        """Its name."""
        return self.name or self.command


class ResponseLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The section `[responses]`."""

    mode: Literal["enforce", "shadow", "off"] = "enforce"
    allow: tuple[str, ...] = ()
    """Addresses and networks that are never acted against."""
    allow_users: tuple[str, ...] = ("root",)
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 30
    """New targets in a minute."""
    active: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 500
    """Targets at once."""
    max_age_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 600
    """An alert about something older is not acted on."""
    server_agent: str = ""
    """Id or name of the agent on the manager's own host, for location "server"."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    limits: ResponseLimits = ResponseLimits()
    commands: tuple[Command, ...] = ()
    responses: tuple[Response, ...] = ()

    def command(self, name: str) -> Command | None:
        """A command by its name; the built-in actions need no definition."""
        for command in self.commands:
            if command.name == name:
                return command
        return Command(name=name) if name in BUILT_IN else None


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert says that may be a reason."""

    rule: int
    level: int
    groups: tuple[str, ...]


def triggers(response: Response, reason: Trigger) -> bool:
    """Whether an alert of such a rule is a reason for this response."""
    if response.disabled or reason.level == 0:
        return False
    if reason.rule in response.rules:
        return True
    by_level = bool(response.level) and reason.level >= response.level
    by_group = any(fnmatch.fnmatchcase(group, pattern) for pattern in response.groups for group in reason.groups)
    if response.match == "any":
        return by_level or by_group
    asked = [answer for asks, answer in ((response.level, by_level), (response.groups, by_group)) if asks]
    return bool(asked) and all(asked)


def check(policy: Policy, where: str) -> None:
    """Find what the types cannot say.

    Raises:
        ConfigError: the first thing that makes no sense.
    """
    for number, command in enumerate(policy.commands, 1):
        _check_command(command, f"{where}: [[command]] number {number}")
    names = [command.name for command in policy.commands]
    labels: set[str] = set()
    for number, response in enumerate(policy.responses, 1):
        place = f"{where}: [[response]] number {number}"
        _check_response(policy, response, place)
        if response.label in labels:
            raise ConfigError(f"{place}: the name {response.label!r} is there twice; give it a name of its own")
        labels.add(response.label)
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: [[command]]: each name once, got {names}")
    networks_of(policy.limits.allow, f"{where}: [responses] allow")
    for user in policy.limits.allow_users:
        if not user_of(user):
            raise ConfigError(f"{where}: [responses] allow_users: expected user names, got {user!r}")


def _check_command(command: Command, where: str) -> None:
    for key, word in (("name", command.name), ("executable", command.action)):
        if not _NAME.fullmatch(word):
            raise ConfigError(f'{where}: {key}: expected a plain name of "A-Z a-z 0-9 . _ -", got {word!r}')
    if any(not word or len(word) > 256 or not word.isprintable() for word in command.extra_args):  # noqa: PLR2004 - ShortText
        raise ConfigError(f"{where}: extra_args: expected words of 1 to 256 printable characters")
    missing = [need for need in BUILT_IN.get(command.action, ()) if need not in command.needs]
    if missing:
        raise ConfigError(f"{where}: {command.action} needs expect = {missing}")


def _check_response(policy: Policy, response: Response, where: str) -> None:
    if policy.command(response.command) is None:
        raise ConfigError(
            f"{where}: there is no [[command]] {response.command!r}, and built in are {', '.join(BUILT_IN)}"
        )
    if not _NAME.fullmatch(response.label):
        raise ConfigError(f'{where}: name: expected a plain name of "A-Z a-z 0-9 . _ -", got {response.label!r}')
    if (response.location == "defined-agent") != bool(response.agent):
        raise ConfigError(f'{where}: location = "defined-agent" and agent = "..." go together')
    if response.location == "server" and not policy.limits.server_agent and not response.disabled:
        raise ConfigError(
            f'{where}: location = "server" needs [responses] server_agent: the agent on the manager\'s own host'
        )
    if not (response.level or response.groups or response.rules) and not response.disabled:
        raise ConfigError(f"{where}: expected level, groups or rules: when is it to be run?")


def networks_of(texts: tuple[str, ...], where: str) -> tuple[Network, ...]:
    """Read addresses and networks ("10.0.0.0/8", "2001:db8::1").

    Raises:
        ConfigError: one is neither.
    """
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise ConfigError(f"{where}: expected addresses or networks such as 10.0.0.0/8: {error}") from error


def as_toml(policy: Policy) -> str:
    """Sections of manager.toml; what is at its default is left out."""
    blocks: list[str] = []
    limits = _members(policy.limits)
    if limits:
        blocks.append("\n".join(["[responses]", *limits]))
    blocks += ["\n".join(["[[command]]", *_members(command)]) for command in policy.commands]
    blocks += ["\n".join(["[[response]]", *_members(response)]) for response in policy.responses]
    return "".join(f"\n{block}\n" for block in blocks)


def _members(struct: msgspec.Struct) -> list[str]:
    fields = msgspec.structs.fields(struct)
    values = [
        (field.name, getattr(struct, field.name)) for field in fields if getattr(struct, field.name) != field.default
    ]
    return [f"{name} = {_value(value)}" for name, value in values]


def _value(value: object) -> str:
    """JSON writes strings, numbers and arrays as TOML does, but for DEL, which no name here has."""
    return msgspec.json.encode(value).decode().replace('","', '", "')
