"""Where alerts go over the network: one struct for each kind of `[[output]]` in manager.toml.

A new kind is a struct here, a word in `AnyOutput`, and a destination in hids.adapters.outputs.kinds.
"""

import re
from typing import Annotated, Literal

import msgspec

Level = Annotated[int, msgspec.Meta(ge=0, le=16)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

COMPLIANCE = ("pci_dss", "cis", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc", "mitre")
"""What a rule can say that it is for, as an alert's `rule` names it."""


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all kinds have: a name, and which alerts they want. An empty list wants all; all filters must agree."""

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
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", self.name):
            return f'name: expected 1 to 32 of "a-z 0-9 _ -", got {self.name!r}'
        for wanted in self.compliance:
            if wanted.partition(":")[0] not in COMPLIANCE:
                return f'compliance: expected one of {", ".join(COMPLIANCE)}, or one with what is below it, such as "pci_dss:10.2", got {wanted!r}'
        return None


class Webhook(Output, frozen=True, kw_only=True, tag="webhook"):
    """JSON over HTTP."""

    name: str = "webhook"
    url: str
    secret_file: str = ""
    ca_file: str = ""

    def problem(self) -> str | None:
        """See `Output`."""
        if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", self.url):
            return f'url: expected "https://host/path" without a password, got {self.url!r}'
        return super().problem()


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

    def problem(self) -> str | None:
        """See `Output`."""
        for url in self.urls or ("",):
            if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):
                return f'urls: expected some of "https://host:9200" without a password, got {url!r}'
        if _exposed(self.urls, (self.password_file, self.api_key_file)):
            return "urls: expected https://, since a password or key goes along"
        if bool(self.user) != bool(self.password_file) or (self.user and self.api_key_file):
            return "user: expected user and password_file, or api_key_file, or none of them"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,127}", self.index):
            return f'index: expected 1 to 128 of "a-z 0-9 _ . -", got {self.index!r}'
        return super().problem()


class Sql(Output, frozen=True, kw_only=True, tag="sql"):
    """Rows in SQLite, PostgreSQL, MySQL or MariaDB."""

    name: str = "sql"
    url: str
    password_file: str = ""
    ca_file: str = ""
    ossec_views: bool = False
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    timeout_s: Positive = 30.0

    def problem(self) -> str | None:
        """See `Output`."""
        if not re.fullmatch(r"(sqlite|postgresql|mysql|mariadb)(\+[a-z0-9]+)?://\S*", self.url):
            return (
                "url: expected sqlite:////path/to/file, postgresql://user@host/database or mysql://user@host/database, "
                f"got {self.url!r}"
            )
        if re.match(r"[^/]+//[^/@]*:[^/@]*@", self.url):
            return "url: expected no password in it; write it into a file, and name that as password_file"
        return super().problem()


class Kafka(Output, frozen=True, kw_only=True, tag="kafka"):
    """Records of a Kafka topic."""

    name: str = "kafka"
    servers: tuple[str, ...]
    topic: str = "hids-alerts"
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def problem(self) -> str | None:
        """See `Output`."""
        if not self.servers or not all(re.fullmatch(r"[^\s/@]+:[0-9]{1,5}", server) for server in self.servers):
            return f'servers: expected some of "host:9092", got {list(self.servers)}'
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", self.topic):
            return f'topic: expected 1 to 249 of "A-Z a-z 0-9 . _ -", got {self.topic!r}'
        if bool(self.user) != bool(self.password_file):
            return "user: expected user and password_file, or none of them"
        if self.user and self.mechanism == "PLAIN" and not self.tls:
            return 'mechanism: "PLAIN" sends the password in clear: set tls = true, or take "SCRAM-SHA-512"'
        return super().problem()


class Nats(Output, frozen=True, kw_only=True, tag="nats"):
    """Messages of a JetStream subject."""

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

    def problem(self) -> str | None:
        """See `Output`."""
        if not self.servers or not all(re.fullmatch(r"(nats|tls)://[^\s/@]+", server) for server in self.servers):
            return (
                f'servers: expected some of "nats://host:4222" or "tls://host:4222" without a password, '
                f"got {list(self.servers)}"
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", self.subject):
            return f"subject: expected words with dots between them, got {self.subject!r}"
        if not re.fullmatch(r"[A-Za-z0-9_-]*", self.stream):
            return f'stream: expected "A-Z a-z 0-9 _ -", got {self.stream!r}'
        ways = (self.user or self.password_file, self.token_file, self.credentials_file)
        if bool(self.user) != bool(self.password_file) or sum(map(bool, ways)) > 1:
            return "user: expected user and password_file, or token_file, or credentials_file, or none of them"
        return super().problem()


AnyOutput = Webhook | OpenSearch | Sql | Kafka | Nats
"""Every kind."""
