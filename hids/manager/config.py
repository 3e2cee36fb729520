"""manager.toml. Unknown keys are errors; every key has a default (conf/manager.toml shows them all)."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tomli

from hids.errors import ConfigError
from hids.messages import Correlation

Dialect = Literal["hids", "ossec", "wazuh"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Manager(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[manager]`."""

    name: str = ""
    """Empty: the host's name."""
    names: tuple[str, ...] = ()


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[listen]`: "address:port"; an empty address is every one, port 0 any free one."""

    agents: str = ":1514"
    join: str = ":1515"


class Ruleset(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One `[[ruleset]]`."""

    path: str
    dialect: Dialect = "hids"
    name: str = ""
    correlation: Correlation = "native"


class Workers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[workers]`."""

    count: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    stuck_s: Positive = 5.0


class Alerts(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[alerts]`."""

    level: Annotated[int, msgspec.Meta(ge=0, le=16)] = 3
    alert_on: Literal["highest", "all"] = "highest"


class Agents(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[agents]`."""

    disconnected_after_s: Positive = 60.0


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[limits]`."""

    windows_mib: Annotated[int, msgspec.Meta(ge=1)] = 256
    stored_keys: Annotated[int, msgspec.Meta(ge=1_000)] = 4_000_000
    process_mib: Annotated[int, msgspec.Meta(ge=128)] = 4096
    outbox_mib: Annotated[int, msgspec.Meta(ge=1)] = 2048
    first_seen_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 365
    ignored_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 30


class Webhook(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="type", tag="webhook"):
    """One `[[output]]` of `type = "webhook"`."""

    url: str
    name: str = "webhook"
    secret_file: str = ""
    level: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    timeout_s: Positive = 10.0
    ca_file: str = ""


class Legacy(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[legacy]`: agents of OSSEC and Wazuh."""

    enabled: bool = False
    udp: str = ":1514"
    blowfish: bool = False
    password_file: str = ""
    cut_password: bool = False
    use_source_ip: bool = False
    enrol_per_hour: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1_000
    shared: str = "/etc/hids/shared"
    journal_mib: Annotated[int, msgspec.Meta(ge=1)] = 1024


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    manager: Manager = Manager()
    listen: Listen = Listen()
    ruleset: tuple[Ruleset, ...] = ()
    """None: the rules that come with hids."""
    workers: Workers = Workers()
    alerts: Alerts = Alerts()
    agents: Agents = Agents()
    limits: Limits = Limits()
    output: tuple[Webhook, ...] = ()
    legacy: Legacy = Legacy()


def read_config(path: Path | None) -> Config:
    """Read manager.toml; None: all defaults.

    Raises:
        ConfigError: missing, not TOML, an unknown key, or a value out of range.
    """
    if path is None:
        return Config()
    try:
        tree = tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; conf/manager.toml is a template") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}; see conf/manager.toml for every key") from error
    for key, value in (("agents", config.listen.agents), ("join", config.listen.join)):
        address_of(value, f"{path}: [listen] {key}")
    _check_outputs(config, path)
    address_of(config.legacy.udp, f"{path}: [legacy] udp")
    return config


def _check_outputs(config: Config, path: Path) -> None:
    names: set[str] = set()
    for output in config.output:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", output.name) or output.name in names:
            raise ConfigError(
                f'{path}: [[output]] name: expected 1 to 32 of "a-z 0-9 _ -", each name once, got {output.name!r}'
            )
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", output.url):
            raise ConfigError(
                f'{path}: [[output]] {output.name}: url: expected "https://host/path" without a password, got {output.url!r}'
            )
        names.add(output.name)


def address_of(text: str, where: str) -> tuple[str, int]:
    """Split "address:port"; an IPv6 address stands in brackets.

    Raises:
        ConfigError: not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:  # noqa: PLR2004 - the largest port
        raise ConfigError(f'{where}: expected "address:port", such as "0.0.0.0:1514", got {text!r}')
    return host.strip("[]"), int(port)
