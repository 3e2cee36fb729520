"""The fields of an alert, once: what each is called in alerts.json, in a search engine's documents and in SQL.

From this table come the documents and the mapping of OpenSearch and Elasticsearch, the columns of the SQL output, the Logstash
pipeline, the dashboards, and the page in docs/reference (`tools/fieldtable.py` writes those that are files). An alert has
Wazuh 4's members and a `hids` object; a document has the names of the Elastic Common Schema (ECS) 8, and what that has no name
for stands below `hids.` under the alert's own name.
"""

from typing import Literal

import msgspec

ECS_VERSION = "8.17.0"

Type = Literal["keyword", "text", "long", "date", "boolean", "ip", "address", "flat"]
"""keyword: an exact text, or several. text: words. long: a whole number. date: a time. ip: an address, left out when it is
none. address: whatever stands where an address is expected; the name gets `.ip` or `.domain`, and `.address` always.
flat: an object whose names come from the log, and which takes one field of the mapping however many they are."""


class Field(msgspec.Struct, frozen=True):
    """One member of an alert."""

    member: str
    """Where it stands in the alert: `rule.level`."""
    type: Type
    says: str
    ecs: tuple[str, ...] = ()
    """Names in a document. None: `hids.` and the member. A name below `related.` collects what several members say."""
    column: str = ""
    """Name in the SQL table `alerts`; empty: only in the whole alert's text there."""
    size: int = 255
    """Characters that such a column holds, when it is a text."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names in a document."""
        return self.ecs or (self.member if self.member.startswith("hids.") else f"hids.{self.member}",)


COMPLIANCE = {
    "pci_dss": "PCI DSS",
    "cis": "CIS controls",
    "gdpr": "GDPR",
    "gpg13": "GPG 13",
    "hipaa": "HIPAA",
    "nist_800_53": "NIST SP 800-53",
    "tsc": "Trust Services Criteria",
}
"""Prefix of a rule's groups -> the catalogue whose requirements they name."""

_FILE: tuple[tuple[str, Type, str, str], ...] = (
    ("size", "long", "file.size", "Size in bytes"),
    ("perm", "keyword", "file.mode", "Permissions"),
    ("uid", "keyword", "file.uid", "Owner's number"),
    ("uname", "keyword", "file.owner", "Owner"),
    ("gid", "keyword", "file.gid", "Group's number"),
    ("gname", "keyword", "file.group", "Group"),
    ("mtime", "date", "file.mtime", "Time of modification"),
    ("inode", "keyword", "file.inode", "Inode"),
    ("md5", "keyword", "file.hash.md5", "MD5"),
    ("sha1", "keyword", "file.hash.sha1", "SHA-1"),
    ("sha256", "keyword", "file.hash.sha256", "SHA-256"),
)

FIELDS: tuple[Field, ...] = (
    Field("timestamp", "date", "When it happened.", ("@timestamp",), "happened_at"),
    Field(
        "id", "keyword", "Names the alert: agent, epoch and sequence. No replay changes it.", ("event.id",), "id", 190
    ),
    Field("rule.level", "long", "Level of the rule, 0 to 16.", ("event.severity",), "level"),
    Field("rule.id", "keyword", "Number of the rule.", ("rule.id",), "rule_id", 32),
    Field("rule.description", "keyword", "What the rule says.", ("rule.description",), "description", 1024),
    Field("rule.groups", "keyword", "Groups of the rule.", ("rule.category",)),
    Field("rule.firedtimes", "long", "How often the rule has fired."),
    Field("rule.frequency", "long", "Events that the rule counts until it fires."),
    Field("rule.mail", "boolean", "Whether the rule asks for mail."),
    Field("rule.mitre.id", "keyword", "MITRE ATT&CK techniques.", ("threat.technique.id",)),
    Field("rule.cve", "keyword", "Vulnerabilities that the rule is about.", ("vulnerability.id",)),
    Field("rule.info", "keyword", "Where to read more.", ("rule.reference",)),
    *(Field(f"rule.{name}", "keyword", f"Requirements of {title}.") for name, title in COMPLIANCE.items()),
    Field("agent.id", "keyword", "Number of the agent.", ("agent.id",), "agent_id", 32),
    Field("agent.name", "keyword", "Name of the agent.", ("agent.name", "host.name", "related.hosts"), "agent_name"),
    Field("agent.ip", "ip", "Address of the agent.", ("host.ip",), "agent_ip", 64),
    Field("agent.labels", "flat", "What the agent's configuration says that the host is.", ("labels",)),
    Field("manager.name", "keyword", "Manager that made the alert.", ("observer.name",), "manager"),
    Field("full_log", "text", "The log line.", ("message",), "full_log", 65_536),
    Field("previous_output", "text", "The log lines that a composite rule counted."),
    Field("previous_log", "text", "The log line before, for a rule that compares."),
    Field("predecoder.program_name", "keyword", "Program that logged it.", ("log.syslog.appname",), "program"),
    Field("predecoder.hostname", "keyword", "Host that the log line names.", ("log.syslog.hostname",), "hostname"),
    Field("predecoder.timestamp", "keyword", "Time as the log line has it."),
    Field("decoder.name", "keyword", "Decoder that took the line.", ("event.dataset",), "decoder"),
    Field("decoder.parent", "keyword", "The decoder above it."),
    Field("location", "keyword", "Where the line was read.", ("log.file.path",), "location", 1024),
    Field("data.srcip", "address", "Where it came from.", ("source",), "srcip"),
    Field("data.srcport", "long", "Port that it came from.", ("source.port",), "srcport"),
    Field("data.srcuser", "keyword", "User who did it.", ("source.user.name", "related.user"), "srcuser"),
    Field("data.dstip", "address", "Where it went.", ("destination",), "dstip"),
    Field("data.dstport", "long", "Port that it went to.", ("destination.port",), "dstport"),
    Field("data.dstuser", "keyword", "User whom it was about.", ("user.name", "related.user"), "dstuser"),
    Field("data.protocol", "keyword", "Protocol.", ("network.protocol",), "protocol"),
    Field("data.action", "keyword", "What was done.", ("event.action",), "action"),
    Field("data.id", "keyword", "The program's own number for what happened.", ("event.code",), "code"),
    Field("data.url", "keyword", "What was asked for.", ("url.original",), "url", 2048),
    Field("data", "flat", "All decoded fields.", ("data",)),
    Field("syscheck.path", "keyword", "File that changed.", ("file.path",), "file_path", 4096),
    Field("syscheck.event", "keyword", "added, modified or deleted.", (), "file_event", 32),
    Field("syscheck.mode", "keyword", "realtime or scheduled."),
    Field("syscheck.changed_attributes", "keyword", "What changed of the file."),
    *(Field(f"syscheck.{name}_after", type_, f"{says}, now.", (ecs,)) for name, type_, ecs, says in _FILE),
    *(Field(f"syscheck.{name}_before", type_, f"{says}, before.") for name, type_, _, says in _FILE),
    Field("syscheck.diff", "text", "What changed inside."),
    Field("hids.number", "long", "Place among the alerts of the manager.", (), "number"),
    Field("hids.source", "keyword", "Stream that the line is of."),
    Field("hids.epoch", "long", "Epoch of the stream."),
    Field("hids.seq", "long", "Sequence in the stream."),
    Field("hids.ruleset", "keyword", "Ruleset of the rule.", (), "ruleset", 128),
    Field("hids.incident.id", "keyword", "Incident that the alert is part of.", (), "incident_id", 190),
    Field("hids.incident.key", "flat", "What the incident is about."),
    Field("hids.incident.news", "keyword", "What is new in it: first, level, agent."),
)
"""In the order of an alert."""

CONSTANT = {"ecs.version": ECS_VERSION, "event.kind": "alert", "event.module": "hids"}
"""What every document says."""

OTHER = "hids.other"
"""Where a document has the members that are not in the table: an object, kept but not searched."""

COLLECTED = {"related.ip": "ip", "related.hosts": "keyword", "related.user": "keyword"}
"""What several members say, in one place: name -> type."""


def mapped() -> dict[str, Type]:
    """Every name that can stand in a document, with its type; of an `address` each of its three."""
    names: dict[str, Type] = dict.fromkeys(CONSTANT, "keyword")
    names["related.ip"] = "ip"
    names["related.hosts"] = names["related.user"] = "keyword"
    for field in FIELDS:
        for name in field.names:
            if field.type == "address":
                names |= {f"{name}.address": "keyword", f"{name}.ip": "ip", f"{name}.domain": "keyword"}
            else:
                names[name] = field.type
    return dict(sorted(names.items()))
