"""agent.toml: what a person sets. Every key has a default; an unknown key is an error.

The manager reads what it sends to agents with the same functions, so that what passes there passes here.
"""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
import tomli

from hids.core.collect import policy as policy_section
from hids.core.collect import registry as registry_tables
from hids.core.collect import rootcheck
from hids.core.collect import syscheck as syscheck_section
from hids.core.collect.policy import PolicyConfig, SentPolicy, SharedPolicyConfig
from hids.core.collect.registry import RegistryConfig
from hids.core.collect.rootcheck import RootcheckConfig
from hids.core.collect.source import SourceConfig, check
from hids.core.collect.syscheck import SyscheckConfig
from hids.core.response.policy import networks_of
from hids.errors import ConfigError

MAX_SOURCES = 256
MAX_CONFIG_BYTES = 1024 * 1024
MAX_PORT = 65_535
MAX_LABELS = 32
MAX_LABEL = 128
MAX_MANAGERS = 8
_GLOB = re.compile(r"[*?\[]")

T = TypeVar("T", bound=msgspec.Struct)


class ManagerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[manager]`."""

    address: str = ""
    """host:port of the session port; empty: as joining found it."""
    others: tuple[str, ...] = ()
    """Where to go when the first does not answer, in this order."""
    protocol: Literal["hids", "ossec"] = "hids"
    """"ossec": the manager is OSSEC's own, reached over UDP; `address` is needed then."""
    crypto: Literal["aes", "blowfish"] = "aes"
    """For "ossec": what that manager takes. AES since 4.0."""
    notify_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 600.0
    """For "ossec": seconds between keep-alives. The manager's patience is 1,830 s."""


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[spool]`."""

    max_bytes: int = 512 * 1024**2


class SilenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[silence]`."""

    canary_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60
    """0: no canary."""
    sources: bool = True


class CentralConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[central]`: what the manager may set. Only the agent's own file has it."""

    accept: bool = True
    """Take configuration from the manager at all."""
    accept_commands: bool = False
    """Also run commands that the manager names."""


class CloudflareConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[response] cloudflare`: where addresses are blocked at Cloudflare's edge."""

    zone: str
    token_file: str
    """A file (mode 600) with an API token that may edit the zone's firewall."""
    url: str = "https://api.cloudflare.com/client/v4"


class AwsWafConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[response] aws_waf`: the IP set that a rule of AWS WAF blocks."""

    name: str
    id: str
    scope: Literal["REGIONAL", "CLOUDFRONT"] = "REGIONAL"
    region: str = ""


class ResponseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[response]`: what this agent does for its manager. Only the agent's own file has it."""

    enabled: bool = False
    firewall: Literal["auto", "nftables", "iptables", "firewalld", "pf", "npf", "ipfw"] = "auto"
    scripts: str = "/etc/hids/responses"
    allow: tuple[str, ...] = ()
    """Addresses and networks that are never acted against."""
    allow_users: tuple[str, ...] = ("root",)
    max_active: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1_000
    deadman_s: Annotated[float, msgspec.Meta(ge=2, le=3_600)] = 30.0
    timeout_s: Annotated[float, msgspec.Meta(ge=1, le=300)] = 10.0
    cloudflare: CloudflareConfig | None = None
    aws_waf: AwsWafConfig | None = None


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    exclude: tuple[str, ...] = ()
    """Folders that are neither read nor watched, besides the agent's own."""
    labels: dict[str, str] = {}
    """What this host is, for people: shown by `hidsctl agent show`."""
    manager: ManagerConfig = ManagerConfig()
    central: CentralConfig = CentralConfig()
    source: tuple[SourceConfig, ...] = ()
    syscheck: SyscheckConfig = SyscheckConfig()
    spool: SpoolConfig = SpoolConfig()
    silence: SilenceConfig = SilenceConfig()
    policy: PolicyConfig = PolicyConfig()
    rootcheck: RootcheckConfig = RootcheckConfig()
    response: ResponseConfig = ResponseConfig()
    registry: tuple[RegistryConfig, ...] = ()


class SharedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a manager may set for its agents: a part of agent.toml, in the same words. It is added to the agent's own file."""

    exclude: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    source: tuple[SourceConfig, ...] = ()
    syscheck: SyscheckConfig | None = None
    rootcheck: RootcheckConfig | None = None
    policy: SharedPolicyConfig | None = None
    registry: tuple[RegistryConfig, ...] = ()


class SentConfig(SharedConfig, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an agent gets: a manager's part, with the policies that it names. What is not set is left out, for older agents."""

    policies: tuple[SentPolicy, ...] = ()


def to_sign(body: bytes) -> bytes:
    """What a manager signs of a packed `SentConfig`, so that no signature over something else will do."""
    return b"hids configuration 1\0" + body


def parse(text: str, where: str) -> AgentConfig:
    """Read agent.toml's text; `where` begins each complaint.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that makes no sense; says where and what to do.
    """
    config = read_toml(text, where, AgentConfig)
    problem = problem_of(config)
    if problem:
        raise ConfigError(f"{where}: {problem}")
    return config


def merged(own: AgentConfig, shared: SharedConfig) -> AgentConfig:
    """The configuration that runs: the manager's part, then the agent's own, which is heard where both name a source.

    A source or a key of the registry that the agent's own file has too (the same name) gives way. Folders add up.
    """
    names = {source.name for source in own.source} | {table.name for table in own.registry}
    return msgspec.structs.replace(
        own,
        exclude=tuple(dict.fromkeys((*own.exclude, *shared.exclude))),
        labels={**shared.labels, **own.labels},
        source=(*own.source, *(source for source in shared.source if source.name not in names)),
        syscheck=own.syscheck if shared.syscheck is None else syscheck_section.merged(own.syscheck, shared.syscheck),
        rootcheck=_merged_rootcheck(own.rootcheck, shared.rootcheck),
        policy=policy_section.merged(own.policy, shared.policy),
        registry=(*own.registry, *(table for table in shared.registry if table.name not in names)),
    )


def _merged_rootcheck(own: RootcheckConfig, shared: RootcheckConfig | None) -> RootcheckConfig:
    """The agent's own section where it has one, else the manager's; exceptions add up."""
    if shared is None:
        return own
    exceptions = tuple(dict.fromkeys((*own.exception, *shared.exception)))
    is_own = msgspec.structs.replace(own, exception=()) != RootcheckConfig()
    return msgspec.structs.replace(own if is_own else shared, exception=exceptions)


def refusal_of(own: AgentConfig, shared: SharedConfig) -> str:
    """Why this agent does not take that part; empty when it does."""
    if not own.central.accept:
        return "this agent takes no configuration from the manager ([central] accept = false in its own file)"
    commands = [source.name for source in shared.source if source.is_command]
    if commands and not own.central.accept_commands:
        return (
            f"{commands[0]}: this agent runs no commands for the manager; set [central] accept_commands = true "
            "in its own agent.toml"
        )
    if shared.syscheck is not None and shared.syscheck.prefilter_cmd:
        return "[syscheck] prefilter_cmd: an agent runs only what its own agent.toml names"
    try:
        policy_section.check(shared.policy or SharedPolicyConfig())
    except ConfigError as error:
        return str(error)
    return problem_of(merged(own, shared))


def read_toml(text: str, where: str, kind: type[T]) -> T:
    """TOML into a struct, with complaints for people.

    Raises:
        ConfigError: as `parse`.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{where}: larger than {MAX_CONFIG_BYTES} bytes; this is not an agent.toml")
    try:
        return msgspec.convert(tomli.loads(text), kind)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}; see conf/agent.toml for all keys") from error


def has_glob(text: str) -> bool:
    """Tell whether a path is a pattern."""
    return _GLOB.search(text) is not None


def address_of(text: str) -> tuple[str, int]:
    """Split "host:port" or "[v6]:port".

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without brackets could end in anything
    if not (host and colon and port.isdecimal() and port.isascii() and 0 < int(port) <= MAX_PORT):
        raise ConfigError(f"expected HOST:PORT, got {text!r}; for IPv6 write [::1]:1514")
    return host, int(port)


def problem_of(config: AgentConfig) -> str:
    """Find the first thing that the types cannot say; empty when all is well."""
    try:
        _check_manager(config.manager)
        _check_labels(config.labels)
        _check_sources(config.source)
        syscheck_section.check(config.syscheck)
        rootcheck.check(config.rootcheck)
        _check_response(config.response)
        registry_tables.check(config.registry)
        policy_section.check(config.policy)
    except ConfigError as error:
        return str(error)
    return _policy_problem(config) or (
        "[spool] max_bytes: at least 1048576 (1 MiB)" if config.spool.max_bytes < 1024**2 else ""
    )


def _check_manager(manager: ManagerConfig) -> None:
    if manager.protocol == "ossec" and not manager.address:
        raise ConfigError('[manager] address: needed with protocol = "ossec", such as "manager.example.org:1514"')
    if len(manager.others) > MAX_MANAGERS:
        raise ConfigError(f"[manager] others: at most {MAX_MANAGERS}, got {len(manager.others)}")
    for key, address in (("address", manager.address), *(("others", other) for other in manager.others)):
        if address or key == "others":
            try:
                address_of(address)
            except ConfigError as error:
                raise ConfigError(f"[manager] {key}: {error}") from error


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise ConfigError(f"labels: at most {MAX_LABELS}, got {len(labels)}")
    for name, value in labels.items():
        if not 0 < len(name) <= MAX_LABEL or len(value) > MAX_LABEL or not (name + value).isprintable():
            raise ConfigError(f"labels: {name!r}: names and values are 1 to {MAX_LABEL} printable characters")


def _check_sources(sources: tuple[SourceConfig, ...]) -> None:
    if len(sources) > MAX_SOURCES:
        raise ConfigError(f"[[source]]: at most {MAX_SOURCES}, got {len(sources)}; use globs")
    seen: set[str] = set()
    for number, source in enumerate(sources, start=1):
        try:
            check(source)
        except ConfigError as error:
            raise ConfigError(f"[[source]] number {number}: {error}") from error
        if source.name in seen:
            what = f"path {source.path!r}" if source.path else f"{source.name!r}"
            raise ConfigError(f"[[source]] number {number}: {what} is there twice")
        seen.add(source.name)


def _policy_problem(config: AgentConfig) -> str:
    if config.policy.files and config.manager.protocol == "ossec":
        return "[policy] files: an OSSEC manager knows no policies; leave them out"
    return ""


def _check_response(response: ResponseConfig) -> None:
    networks_of(response.allow, "[response] allow")
    if not response.scripts.startswith("/"):
        raise ConfigError(f"[response] scripts: expected an absolute path, got {response.scripts!r}")
