"""manager.toml. Unknown keys are errors; every key has a default (conf/manager.toml shows them all)."""

import ipaddress
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tomli

from hids.core.outputs import AnyOutput, Email, is_address
from hids.core.report import DEFAULT_BY, Key
from hids.core.report_schedule import Format, Frequency, Scheduled, file_name
from hids.core.response.policy import Command, Policy, Response, ResponseLimits, check
from hids.core.telemetry import Telemetry
from hids.errors import ConfigError
from hids.messages.terms import Correlation

Dialect = Literal["hids", "ossec", "wazuh"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Positive = Annotated[float, msgspec.Meta(gt=0)]
Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
"""0: for ever."""


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
    disconnected_at_most_s: Positive = 86_400.0


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[limits]`."""

    windows_mib: Annotated[int, msgspec.Meta(ge=1)] = 256
    stored_keys: Annotated[int, msgspec.Meta(ge=1_000)] = 4_000_000
    process_mib: Annotated[int, msgspec.Meta(ge=128)] = 4096
    outbox_mib: Annotated[int, msgspec.Meta(ge=1)] = 2048
    syslog_mib: Annotated[int, msgspec.Meta(ge=1)] = 1024
    first_seen_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 365
    ignored_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 30


class Syslog(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One `[[syslog]]`: a port where devices send their logs."""

    listen: str
    protocol: Literal["udp", "tcp", "tls"] = "udp"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256


class AgentlessHost(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One `[[agentless]]`: a host that is looked at over SSH."""

    host: str
    type: Literal["generic_diff", "integrity_check", "command"] = "generic_diff"
    run: str = ""
    paths: tuple[str, ...] = ()
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 22
    identity: str = ""
    options: tuple[str, ...] = ()
    frequency_s: Annotated[float, msgspec.Meta(ge=1)] = 3600.0
    timeout_s: Positive = 300.0

    @property
    def name(self) -> str:
        """As alerts know it, in OSSEC's words."""
        return f"(ssh_{self.type}) {self.host}->agentless"


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


class Syscheck(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[syscheck]`: what is kept and told of files."""

    auto_ignore: bool = False
    history_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 365
    history_rows: Annotated[int, msgspec.Meta(ge=1_000)] = 1_000_000


class Retention(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[retention]`: how long alerts are kept, and how."""

    rotate_mib: Annotated[int, msgspec.Meta(ge=0)] = 0
    compress: bool = True
    alerts_days: Days = 365
    alerts_mib: Annotated[int, msgspec.Meta(ge=0)] = 0
    search_days: Days = 365
    search_mib: Annotated[int, msgspec.Meta(ge=0)] = 0


class Evidence(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[evidence]`: when chain values are signed, and where copies go."""

    head_s: Annotated[float, msgspec.Meta(ge=1)] = 600.0
    anchor_file: str = ""
    anchor_command: tuple[str, ...] = ()
    anchor_s: Annotated[float, msgspec.Meta(ge=1)] = 60.0


class Archive(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[archive]`: all that was read, alerts or not."""

    enabled: bool = False
    days: Days = 30
    mib: Annotated[int, msgspec.Meta(ge=0)] = 0


class Metrics(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`[metrics]`."""

    listen: str = ""


class ReportConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One `[[report]]`: made when its day, week or month is over."""

    title: str
    frequency: Frequency = "daily"
    format: Format = "html"
    by: tuple[Key, ...] = DEFAULT_BY
    group: tuple[str, ...] = ()
    rule: tuple[int, ...] = ()
    level: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    location: tuple[str, ...] = ()
    srcip: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    filename: tuple[str, ...] = ()
    related: tuple[tuple[Key, Key], ...] = ()
    show_logs: bool = False
    email_to: tuple[str, ...] = ()
    keep_days: Days = 0

    def scheduled(self) -> Scheduled:
        """As the keeper takes it."""
        wanted: dict[Key, tuple[str, ...]] = {
            "level": (str(self.level),) if self.level else (),
            "group": self.group,
            "rule": tuple(map(str, self.rule)),
            "location": self.location,
            "srcip": self.srcip,
            "user": self.user,
            "agent": self.agent,
            "filename": self.filename,
        }
        return Scheduled(
            self.title,
            self.frequency,
            self.format,
            self.by,
            tuple((key, value) for key, values in wanted.items() for value in values),
            self.related,
            self.show_logs,
            self.email_to,
            self.keep_days,
        )


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    manager: Manager = Manager()
    listen: Listen = Listen()
    ruleset: tuple[Ruleset, ...] = ()
    """None: the rules that come with hids."""
    syslog: tuple[Syslog, ...] = ()
    agentless: tuple[AgentlessHost, ...] = ()
    workers: Workers = Workers()
    alerts: Alerts = Alerts()
    agents: Agents = Agents()
    limits: Limits = Limits()
    output: tuple[AnyOutput, ...] = ()
    legacy: Legacy = Legacy()
    syscheck: Syscheck = Syscheck()
    responses: ResponseLimits = ResponseLimits()
    command: tuple[Command, ...] = ()
    response: tuple[Response, ...] = ()

    retention: Retention = Retention()
    evidence: Evidence = Evidence()
    archive: Archive = Archive()
    metrics: Metrics = Metrics()
    report: tuple[ReportConfig, ...] = ()
    telemetry: Telemetry = Telemetry()

    @property
    def mail(self) -> Email | None:
        """The output through whose server reports are mailed: the first one of type email."""
        return next((output for output in self.output if isinstance(output, Email)), None)

    @property
    def policy(self) -> Policy:
        """What is done about alerts."""
        return Policy(limits=self.responses, commands=self.command, responses=self.response)


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
    for number, port in enumerate(config.syslog, 1):
        _check_syslog(port, f"{path}: [[syslog]] number {number}")
    for number, host in enumerate(config.agentless, 1):
        _check_agentless(host, f"{path}: [[agentless]] number {number}")
    _check_outputs(config, path)
    check(config.policy, str(path))
    address_of(config.legacy.udp, f"{path}: [legacy] udp")
    _check_keeping(config, path)
    return config


def _check_agentless(host: AgentlessHost, where: str) -> None:
    if not host.host or host.host.startswith("-"):
        raise ConfigError(f'{where}: host: expected "user@host", got {host.host!r}')
    if (host.type == "integrity_check") != bool(host.paths) or any(not path.startswith("/") for path in host.paths):
        raise ConfigError(f'{where}: type "integrity_check" and paths = ["/etc", ...], absolute, go together')
    if (host.type == "integrity_check") == bool(host.run):
        raise ConfigError(f'{where}: types "generic_diff" and "command" need run = "...", "integrity_check" has none')


def networks_of(texts: tuple[str, ...], where: str) -> tuple[Network, ...]:
    """Read addresses and networks ("10.0.0.0/8", "2001:db8::1").

    Raises:
        ConfigError: one is neither.
    """
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"{where}: expected addresses or networks such as 10.0.0.0/8: {error}") from error


def _check_syslog(port: Syslog, where: str) -> None:
    address_of(port.listen, f"{where}: listen")
    networks_of(port.deny, f"{where}: deny")
    if not networks_of(port.allow, f"{where}: allow"):
        raise ConfigError(
            f'{where}: allow is missing: who may send, such as ["10.0.0.0/8"]; everybody is ["0.0.0.0/0", "::/0"]'
        )
    if port.protocol == "tls" and not port.certificate:
        raise ConfigError(
            f'{where}: protocol "tls" needs certificate = "/path/to.pem" (and key, unless it is in there)'
        )
    if port.protocol != "tls" and (port.certificate or port.key or port.client_ca):
        raise ConfigError(f'{where}: certificate, key and client_ca are for protocol "tls"')


def _check_outputs(config: Config, path: Path) -> None:
    names: set[str] = set()
    for output in config.output:
        where = f"{path}: [[output]] {output.name}"
        if (problem := output.problem()) is not None:
            raise ConfigError(f"{where}: {problem}")
        if output.name in names:
            raise ConfigError(f"{where}: name: expected each name once")
        names.add(output.name)


def _check_keeping(config: Config, path: Path) -> None:
    if config.metrics.listen:
        address_of(config.metrics.listen, f"{path}: [metrics] listen")
    if (problem := config.telemetry.problem()) is not None:
        raise ConfigError(f"{path}: [telemetry] {problem}")
    names = [file_name(report.scheduled(), date.min) for report in config.report]
    for report, name in zip(config.report, names, strict=True):
        if names.count(name) > 1:
            raise ConfigError(
                f"{path}: [[report]] {report.title!r}: another one would write to the same file; give it another title"
            )
        _check_mailing(report, config.mail, f"{path}: [[report]] {report.title!r}")
    evidence = config.evidence
    for key, place in (
        ("anchor_file", evidence.anchor_file),
        *(("anchor_command", word) for word in evidence.anchor_command[:1]),
    ):
        if place and not place.startswith("/"):
            raise ConfigError(f"{path}: [evidence] {key}: expected an absolute path, got {place!r}")


def _check_mailing(report: ReportConfig, mail: Email | None, where: str) -> None:
    if report.email_to and mail is None:
        raise ConfigError(
            f'{where}: email_to needs an [[output]] of type "email": its server and sender are used (docs/reports.md)'
        )
    for address in report.email_to:
        if not is_address(address):
            raise ConfigError(
                f'{where}: email_to: expected mail addresses, such as "admin@example.org", got {address!r}'
            )


def address_of(text: str, where: str) -> tuple[str, int]:
    """Split "address:port"; an IPv6 address stands in brackets.

    Raises:
        ConfigError: not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:  # noqa: PLR2004 - the largest port
        raise ConfigError(f'{where}: expected "address:port", such as "0.0.0.0:1514", got {text!r}')
    return host.strip("[]"), int(port)
