"""What an ossec.conf of OSSEC or Wazuh says of mail, syslog and a database, as `[[output]]` tables of manager.toml.

    <global>         email_notification, email_to, email_from, email_reply_to, email_idsname, email_maxperhour, smtp_server,
                     smtp_port, helo_server, auth_smtp, smtp_user, smtp_password, secure_smtp, smtp_tls_verify
    <alerts>         email_alert_level
    <email_alerts>   email_to, format, level, rule_id, group, event_location, do_not_delay, do_not_group
    <syslog_output>  server, port, format, level, rule_id, group, location, use_fqdn, protocol, tls, tls_verify, tls_ca
    <database_output> type, hostname, port, username, password, database

What has no counterpart, or means something slightly different, is told in a note. Passwords are left where they are. An
output whose library is not installed becomes a comment: the manager does not start with one that it cannot use.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hids.adapters.ossec_sections import Options, sections_of
from hids.adapters.outputs.kinds import is_installed
from hids.core.markup import Element
from hids.core.outputs import AnyOutput
from hids.errors import ConfigError

PASSWORD_FILE = "/etc/hids/email.password"  # noqa: S105 - a path
SQL_PASSWORD_FILE = "/etc/hids/sql.password"  # noqa: S105 - a path
_MAIL_LEVEL = 7
"""OSSEC's email_alert_level where none is given."""
_PER_HOUR = 12
"""OSSEC's email_maxperhour where none is given."""
_PORTS = {"udp": 514, "tcp": 514, "tls": 6514}

_ELSEWHERE = {
    "custom_alert_output": "custom_alert_output has no counterpart: alerts.log has OSSEC's form, alerts.json has everything",
    "prelude_output": "prelude_output has no counterpart: use an [[output]] of type syslog with format cef, or a webhook",
    "zeromq_output": 'zeromq_output has no counterpart: use an [[output]] of type "nats" or "kafka" (docs/databases.md)',
    "integration": 'integration: use an [[output]] of type "notify" for chat and pagers, or "webhook"',
}


class OssecOutputs(msgspec.Struct, frozen=True):
    """What was found."""

    tables: list[dict[str, Any]]
    """Each is an `[[output]]`."""
    notes: list[str]
    waiting: frozenset[str] = frozenset()
    """Names of those whose library is not installed."""

    def toml(self) -> str:
        """As a part of manager.toml, the notes as comments, and the outputs that wait for their library."""
        lines = [f"# {note}" for note in self.notes]
        for table in self.tables:
            mark = "# " if table["name"] in self.waiting else ""
            rows = ("[[output]]", *(f"{key} = {_toml(value)}" for key, value in table.items()))
            lines += ["", *(f"{mark}{row}" for row in rows)]
        return "\n".join(lines) + "\n" if lines else ""


def ossec_outputs(conf: str, text: bytes, has: Callable[[str], bool] = is_installed) -> OssecOutputs:
    """Read the outputs of a configuration.

    Args:
        conf: name of the configuration, for messages.
        text: what stands in it.
        has: whether a module can be imported.

    Raises:
        ConfigError: it cannot be read as an ossec.conf, or a number in it is none.
    """
    sections = sections_of(conf, text)
    notes = [_ELSEWHERE[name] for name in _ELSEWHERE if _has(sections, name)]
    drafts = [*_mails(sections, notes), *_logs(sections, notes), *_databases(sections, notes)]
    tables: list[dict[str, Any]] = []
    waiting: set[str] = set()
    for table in drafts:
        try:
            output = msgspec.convert(table, AnyOutput)
            problem = output.problem()
        except msgspec.ValidationError as error:
            notes.append(f"output {table['name']} is left out: {error}")
            continue
        if problem is not None:
            notes.append(f"output {table['name']} is left out: {problem}")
            continue
        tables.append(table)
        module, extra = output.library
        if module and not has(module):
            waiting.add(output.name)
            notes.append(
                f"output {output.name} is a comment, since {module} is not installed here: pip install 'hids[{extra}]' where the "
                f"manager runs, then take the # from [[output]] and the lines below it in manager.toml"
            )
    return OssecOutputs(tables, notes, frozenset(waiting))


# -- mail


def _mails(sections: list[Element], notes: list[str]) -> Iterator[dict[str, Any]]:
    shared = _settings(sections, "global")
    granular = [section for section in sections if section.name == "email_alerts"]
    if shared.one("email_notification") != "yes":
        if granular:
            notes.append("email_alerts are left out: email_notification is not yes")
        return
    server = _mail_server(shared, notes)
    level = _number(_settings(sections, "alerts"), "email_alert_level", _MAIL_LEVEL)
    most = _number(shared, "email_maxperhour", _PER_HOUR)
    if level != _MAIL_LEVEL:
        notes.append("alert_by_email and no_email_alert in rules do not change who is mailed: use level, rules, groups")
    if to := [address for text in shared.all("email_to") for address in _words(text)]:
        yield {"type": "email", "name": "email", "to": to, **server, **_flagged(level), "max_per_hour": most}
    for number, section in enumerate(granular, 2):
        yield _granular(section, f"email-{number}", server, level, most)


def _granular(section: Element, name: str, server: dict[str, Any], level: int, most: int) -> dict[str, Any]:
    options, flagged = Options(section), _flagged(level)
    table: dict[str, Any] = {
        "type": "email",
        "name": name,
        "to": [address for text in options.all("email_to") for address in _words(text)],
        **server,
        **flagged,
        **({"level": max(flagged.get("level", 0), _number(options, "level", 0))} if "level" in options else {}),
        **_filters(options, "event_location"),
        "max_per_hour": most,
    }
    form = options.one("format")
    if form in ("full", "sms"):
        table["format"] = form
    if "do_not_group" in options:
        table["mode"] = "single"
    if "do_not_delay" in options:
        table["urgent"] = 0
    return table


def _flagged(level: int) -> dict[str, Any]:
    """The alerts that OSSEC marks for mail: no recipient gets others."""
    return {"mail": True} if level == _MAIL_LEVEL else {"level": level}


def _mail_server(options: Options, notes: list[str]) -> dict[str, Any]:
    host, port = options.one("smtp_server") or "localhost", options.one("smtp_port")
    if host.startswith("/"):
        notes.append(f"smtp_server {host} is a program: mail goes to the server on localhost instead")
        host = "localhost"
    secure, login = options.one("secure_smtp") == "yes", options.one("auth_smtp") == "yes"
    tls = "none"
    if secure or login:
        tls = "tls" if port == "465" else "starttls"
    if login and not secure:
        notes.append('the password is sent over TLS only: tls = "starttls" is set')
    table = {
        "from": options.one("email_from") or "hids@localhost",
        "server": f"[{host}]:{port or 25}" if ":" in host else f"{host}:{port or 25}",
        "tls": tls,
        "reply_to": options.one("email_reply_to"),
        "helo": options.one("helo_server"),
        "prefix": options.one("email_idsname"),
    }
    if login:
        table |= {"user": options.one("smtp_user"), "password_file": PASSWORD_FILE}
        notes.append(f"put smtp_password into {PASSWORD_FILE}, mode 600, owned by the manager's user")
    if options.one("smtp_tls_verify") == "no":
        notes.append("smtp_tls_verify no has no counterpart: name the server's CA in ca_file")
    return {key: value for key, value in table.items() if value}


# -- syslog


def _logs(sections: list[Element], notes: list[str]) -> Iterator[dict[str, Any]]:
    found = [section for section in sections if section.name == "syslog_output"]
    for number, section in enumerate(found, 1):
        options = Options(section)
        protocol = options.one("protocol") or "udp"
        if options.one("tls") == "yes":
            protocol = "tls"
        host, port = options.one("server"), options.one("port") or _PORTS.get(protocol, 514)
        table: dict[str, Any] = {
            "type": "syslog",
            "name": "syslog" if number == 1 else f"syslog-{number}",
            "server": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "protocol": protocol,
            "format": options.one("format") or "default",
            "level": _number(options, "level", 0),
            **_filters(options, "location"),
        }
        if options.one("use_fqdn") == "yes":
            table["use_fqdn"] = True
        if protocol == "tls":
            if authority := options.one("tls_ca"):
                table["ca_file"] = authority
            if options.one("tls_verify") == "no":
                notes.append(
                    f"output {table['name']}: tls_verify no has no counterpart: name the server's CA in ca_file"
                )
        yield table


# -- database


def _databases(sections: list[Element], notes: list[str]) -> Iterator[dict[str, Any]]:
    options = _settings(sections, "database_output")
    if not options:
        return
    kind, host, name = options.one("type") or "mysql", options.one("hostname"), options.one("database")
    host = f"[{host}]" if ":" in host else host
    port = f":{port}" if (port := options.one("port")) else ""
    yield {
        "type": "sql",
        "name": "sql",
        "url": f"{kind}://{options.one('username')}@{host}{port}/{name}",
        "password_file": SQL_PASSWORD_FILE,
    }
    notes.append(
        f"database_output: it needs hids[sql]; put its password into {SQL_PASSWORD_FILE}, mode 600, owned by the manager's user. The tables are others "
        "(docs/databases.md): in a new database ossec_views = true gives views with the names and columns of OSSEC's"
    )


# -- what all have


def _filters(options: Options, location: str) -> dict[str, Any]:
    rules = [int(word) for text in options.all("rule_id") for word in re.findall(r"[0-9]{1,9}", text)]
    groups = [word for text in options.all("group") for word in _words(text)]
    places = [part for text in options.all(location) for part in text.split("|") if part]
    found: dict[str, Any] = {"rules": rules, "groups": groups, "locations": places}
    return {key: value for key, value in found.items() if value}


def _settings(sections: list[Element], name: str) -> Options:
    return Options(*(section for section in sections if section.name == name))


def _has(sections: list[Element], name: str) -> bool:
    return any(section.name == name or any(option.name == name for option in section.children) for section in sections)


def _number(options: Options, name: str, default: int) -> int:
    text = options.one(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ConfigError(f"{name}: expected a number, got {text[:100]!r}")
    return int(text)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[|,\s]+", text) if word]


def _toml(value: object) -> str:
    """A string, number, boolean or list of them: TOML writes these as JSON does."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
