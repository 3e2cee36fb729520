"""Where alerts go over the network: one struct for each kind of `[[output]]` in manager.toml.

A new kind is a struct here, a word in `AnyOutput`, and a destination in hids.adapters.outputs.kinds.
"""

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import msgspec

Level = Annotated[int, msgspec.Meta(ge=0, le=16)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

COMPLIANCE = ("pci_dss", "cis", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc", "mitre")
"""What a rule can say that it is for, as an alert's `rule` names it."""

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
"""Syslog's, by number (RFC 5424 6.2.1)."""


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all kinds have: a name, and which alerts they want. An empty list wants all; all filters must agree."""

    library: ClassVar[tuple[str, str]] = ("", "")
    """A module that must be there, and the extra of this project that brings it."""

    name: str
    level: Level = 0
    """Lowest rule level that is sent."""
    groups: tuple[str, ...] = ()
    """Rules in any of these groups."""
    rules: tuple[int, ...] = ()
    """Any of these rules."""
    agents: tuple[str, ...] = ()
    """Any of these agents: ids or names; * and ? as in a shell."""
    locations: tuple[str, ...] = ()
    """Any of these texts occurs in "(agent) address->file"; ^ in front and $ at the end mean begin and end."""
    compliance: tuple[str, ...] = ()
    """Rules for any of these: "pci_dss", or "pci_dss:10.2" with all that is below it."""
    mail: bool = False
    """Only rules that are for mail, as OSSEC sees it: level 7 and above or `alert_by_email`, and no `no_email_alert`."""
    send: Literal["alerts", "incidents"] = "alerts"
    """"incidents": only what is new in one: its first alert, a higher level, another agent."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """Alerts in one delivery, at most."""
    timeout_s: Positive = 10.0
    """For a whole delivery; then it is tried again."""

    @property
    def type(self) -> str:
        """The kind, as manager.toml says it."""
        return str(self.__struct_config__.tag)

    @property
    def output(self) -> str:
        """The name of its cursor among all outputs'."""
        return f"{self.type}:{self.name}"

    @property
    def stem(self) -> str:
        """How its files' names begin."""
        return f"{self.type}-{self.name}"

    def problem(self) -> str | None:
        """What is wrong with it, beyond the types; None: nothing."""
        return next(self.problems(), None)

    def problems(self) -> Iterator[str]:
        """All that is."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", self.name):
            yield f'name: expected 1 to 32 of "a-z 0-9 _ -", got {self.name!r}'
        for wanted in self.compliance:
            if wanted.partition(":")[0] not in COMPLIANCE:
                yield f'compliance: expected one of {", ".join(COMPLIANCE)}, or one with what is below it, such as "pci_dss:10.2", got {wanted!r}'


class Webhook(Output, frozen=True, kw_only=True, tag="webhook"):
    """JSON over HTTP."""

    name: str = "webhook"
    url: str
    secret_file: str = ""
    ca_file: str = ""

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", self.url):
            yield f'url: expected "https://host/path" without a password, got {self.url!r}'
        yield from super().problems()


class SyslogOutput(Output, frozen=True, kw_only=True, tag="syslog"):
    """Syslog over UDP, TCP or TLS."""

    name: str = "syslog"
    server: str
    """"host:port"; an IPv6 address stands in brackets."""
    protocol: Literal["udp", "tcp", "tls"] = "udp"
    format: Literal["default", "cef", "leef", "json", "splunk"] = "default"
    rfc: Literal["3164", "5424"] = "3164"
    framing: Literal["octets", "lines", ""] = ""
    facility: str = "local0"
    severity: Literal["level", "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"] = "warning"
    """"level": by the rule's."""
    use_fqdn: bool = False
    max_bytes: Annotated[int, msgspec.Meta(ge=480, le=65_000)] = 8192
    """Longer messages are cut; RFC 5424 6.1 has every receiver take 480."""
    ca_file: str = ""
    certificate: str = ""
    key: str = ""

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not server_of(self.server):
            yield f'server: expected "host:port", such as "log.example.org:514", got {self.server!r}'
        if self.facility not in FACILITIES:
            yield f"facility: expected one of {', '.join(FACILITIES)}, got {self.facility!r}"
        if self.protocol != "tls" and (self.ca_file or self.certificate or self.key):
            yield 'ca_file, certificate and key are for protocol = "tls"'
        if self.protocol == "udp" and self.framing:
            yield "framing is for streams: over UDP each message is a datagram"
        yield from super().problems()


class Email(Output, frozen=True, kw_only=True, tag="email"):
    """Mail over SMTP."""

    name: str = "email"
    to: tuple[str, ...]
    sender: str = msgspec.field(name="from")
    reply_to: str = ""
    server: str = "localhost:25"
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    helo: str = ""
    format: Literal["default", "full", "sms"] = "default"
    prefix: str = "hids"
    """How subjects begin."""
    mode: Literal["grouped", "single", "digest"] = "grouped"
    group_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    digest_s: Positive = 3600.0
    max_per_hour: Annotated[int, msgspec.Meta(ge=0)] = 12
    """0: no limit."""
    urgent: Annotated[int, msgspec.Meta(ge=0, le=17)] = 12
    """From this level on alerts are mailed at once, and count for no limit; 17: none is."""

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not self.to:
            yield 'to: expected addresses, such as ["admin@example.org"]'
        for address in (*self.to, self.sender, *filter(None, (self.reply_to,))):
            if not is_address(address):
                yield f'to, from, reply_to: expected mail addresses, such as "admin@example.org", got {address!r}'
        if not server_of(self.server):
            yield f'server: expected "host:port", such as "mail.example.org:587", got {self.server!r}'
        if self.user and not self.password_file:
            yield "user needs password_file, a file of mode 600 with the password"
        if self.user and self.tls == "none":
            yield 'user and password are sent over TLS only: tls = "starttls" or "tls"'
        if not self.prefix.isprintable():
            yield f"prefix: expected text without control characters, got {self.prefix!r}"
        if not re.fullmatch(r"[A-Za-z0-9.-]*", self.helo):
            yield f"helo: expected a host name, got {self.helo!r}"
        yield from super().problems()


class Notify(Output, frozen=True, kw_only=True, tag="notify"):
    """Short messages through apprise."""

    library: ClassVar[tuple[str, str]] = ("apprise", "notify")

    name: str = "notify"
    url_file: str
    prefix: str = "hids"
    every_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    """At least so long between two messages; alerts that come meanwhile share the next."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    timeout_s: Positive = 30.0

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not self.url_file:
            yield "url_file: expected a file of mode 600 with one URL of apprise, such as slack://token/#channel"
        if not self.prefix.isprintable():
            yield f"prefix: expected text without control characters, got {self.prefix!r}"
        yield from super().problems()


def is_address(text: str) -> bool:
    """Whether a text is a mail address that can stand in a header as it is."""
    return re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}", text) is not None


def server_of(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port"; None when it is not that."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if found is None or not 0 < int(found[3]) <= 65_535:  # noqa: PLR2004 - the largest port
        return None
    return found[1] or found[2], int(found[3])


def _exposed(urls: tuple[str, ...], secrets: tuple[str, ...]) -> bool:
    """Whether a secret would go over the network in clear."""
    return any(secrets) and any(re.match(r"http://(?!(127\.0\.0\.1|\[::1\]|localhost)[:/])", f"{url}/") for url in urls)


class OpenSearch(Output, frozen=True, kw_only=True, tag="opensearch"):
    """Documents with ECS fields in OpenSearch or Elasticsearch."""

    name: str = "opensearch"
    urls: tuple[str, ...]
    user: str = ""
    password_file: str = ""
    api_key_file: str = ""
    ca_file: str = ""
    index: str = "hids-alerts"
    data_stream: bool = False
    retention_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0
    template: bool = True
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    timeout_s: Positive = 30.0

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        for url in self.urls or ("",):
            if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):
                yield f'urls: expected some of "https://host:9200" without a password, got {url!r}'
        if _exposed(self.urls, (self.password_file, self.api_key_file)):
            yield "urls: expected https://, since a password or key goes along"
        if bool(self.user) != bool(self.password_file) or (self.user and self.api_key_file):
            yield "user: expected user and password_file, or api_key_file, or none of them"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,127}", self.index):
            yield f'index: expected 1 to 128 of "a-z 0-9 _ . -", got {self.index!r}'
        yield from super().problems()


class Sql(Output, frozen=True, kw_only=True, tag="sql"):
    """Rows in SQLite, PostgreSQL, MySQL or MariaDB."""

    library: ClassVar[tuple[str, str]] = ("sqlalchemy", "sql")

    name: str = "sql"
    url: str
    password_file: str = ""
    ca_file: str = ""
    ossec_views: bool = False
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    timeout_s: Positive = 30.0

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not re.fullmatch(r"(sqlite|postgresql|mysql|mariadb)(\+[a-z0-9]+)?://\S*", self.url):
            yield (
                "url: expected sqlite:////path/to/file, postgresql://user@host/database or mysql://user@host/database, "
                f"got {self.url!r}"
            )
        if re.match(r"[^/]+//[^/@]*:[^/@]*@", self.url):
            yield "url: expected no password in it; write it into a file, and name that as password_file"
        yield from super().problems()


class Kafka(Output, frozen=True, kw_only=True, tag="kafka"):
    """Records of a Kafka topic."""

    library: ClassVar[tuple[str, str]] = ("aiokafka", "kafka")

    name: str = "kafka"
    servers: tuple[str, ...]
    topic: str = "hids-alerts"
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not self.servers or not all(re.fullmatch(r"[^\s/@]+:[0-9]{1,5}", server) for server in self.servers):
            yield f'servers: expected some of "host:9092", got {list(self.servers)}'
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", self.topic):
            yield f'topic: expected 1 to 249 of "A-Z a-z 0-9 . _ -", got {self.topic!r}'
        if bool(self.user) != bool(self.password_file):
            yield "user: expected user and password_file, or none of them"
        if self.user and self.mechanism == "PLAIN" and not self.tls:
            yield 'mechanism: "PLAIN" sends the password in clear: set tls = true, or take "SCRAM-SHA-512"'
        yield from super().problems()


class Nats(Output, frozen=True, kw_only=True, tag="nats"):
    """Messages of a JetStream subject."""

    library: ClassVar[tuple[str, str]] = ("nats", "nats")

    name: str = "nats"
    servers: tuple[str, ...]
    subject: str = "hids.alerts"
    stream: str = ""
    retention_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 7
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    token_file: str = ""
    credentials_file: str = ""

    def problems(self) -> Iterator[str]:
        """See `Output`."""
        if not self.servers or not all(re.fullmatch(r"(nats|tls)://[^\s/@]+", server) for server in self.servers):
            yield (
                f'servers: expected some of "nats://host:4222" or "tls://host:4222" without a password, '
                f"got {list(self.servers)}"
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", self.subject):
            yield f"subject: expected words with dots between them, got {self.subject!r}"
        if not re.fullmatch(r"[A-Za-z0-9_-]*", self.stream):
            yield f'stream: expected "A-Z a-z 0-9 _ -", got {self.stream!r}'
        ways = (self.user or self.password_file, self.token_file, self.credentials_file)
        if bool(self.user) != bool(self.password_file) or sum(map(bool, ways)) > 1:
            yield "user: expected user and password_file, or token_file, or credentials_file, or none of them"
        yield from super().problems()


AnyOutput = Webhook | SyslogOutput | Email | Notify | OpenSearch | Sql | Kafka | Nats
"""Every kind."""
