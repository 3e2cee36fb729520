"""What an ossec.conf says of the manager itself, as sections of manager.toml.

    <global>     logall, logall_json, compress_alerts, agents_disconnection_time, rotate_interval, max_output_size
    <alerts>     log_alert_level
    <syscheck>   auto_ignore
    <remote>     connection, port, protocol, ipv6, allowed-ips, denied-ips, local_ip, crypto_accept
    <auth>       port, use_password, disabled                                                            Wazuh
    <agentless>  type, host, port, frequency, state, run_command, arguments

Mail, syslog, databases, responses, reports and rules are read elsewhere (ossec_outputs, ossec_responses, ossec_conf).
"""

from typing import Any, NamedTuple

from hids.adapters.ossec_sections import Options, sections_of
from hids.adapters.ossec_sources import seconds
from hids.core.markup import Element

_ALERT_LEVEL = {"ossec": 1, "wazuh": 3}
"""log_alert_level where none is given."""
_CHECKS = ("ssh_integrity_check_linux", "ssh_integrity_check_bsd")
_CONFIGS = {
    "ssh_pixconfig_diff": "show running-config",
    "ssh_asa-fwsmconfig_diff": "show running-config",
    "ssh_foundry_diff": "show running-config",
}
_GLOBAL = {
    "stats": "what is usual in an hour is always learned (hidsctl stats)",
    "memory_size": "windows have no common ring that could be too short; [limits] windows_mib bounds their memory",
    "prelude_output": "",
    "geoipdb_path": "addresses are not looked up in a GeoIP database",
    "geoip_db_path": "addresses are not looked up in a GeoIP database",
    "geoip6_db_path": "addresses are not looked up in a GeoIP database",
    "host_information": "the levels of what hids itself tells are those of its rules: write a rule with overwrite",
    "integrity_checking": "the levels of what hids itself tells are those of its rules: write a rule with overwrite",
    "rootkit_detection": "the levels of what hids itself tells are those of its rules: write a rule with overwrite",
    "md5_whitelist": "hashes are explained by packages: hidsctl syscheck accept takes a change as it is",
    "md5_allowlist": "hashes are explained by packages: hidsctl syscheck accept takes a change as it is",
    "update_check": "nobody is asked for updates",
    "agents_disconnection_alert_time": "the alert comes with the disconnection",
    "limits": "nothing is dropped for being too much",
}
"""Options of <global> that are known and not taken over -> what to know about it; empty: told by another reader."""
_TAKEN = frozenset(
    (
        *(
            "logall",
            "logall_json",
            "compress_alerts",
            "agents_disconnection_time",
            "rotate_interval",
            "max_output_size",
        ),
        *("jsonout_output", "alerts_log", "white_list", "allow_list", "custom_alert_output", "zeromq_output"),
        *(
            "zeromq_uri",
            "zeromq_server_cert",
            "zeromq_client_cert",
            "smtp_server",
            "smtp_port",
            "helo_server",
            "auth_smtp",
        ),
        *("smtp_user", "smtp_password", "secure_smtp", "smtp_tls_verify", "email_log_source"),
    )
)
"""Options of <global> that this or another reader takes, or that need nothing."""
_ALERTS = {"use_geoip": "addresses are not looked up in a GeoIP database"}
_AUTH_TAKEN = frozenset(("port", "use_password", "disabled", "use_source_ip"))


class ManagerPart(NamedTuple):
    """What was found."""

    tables: dict[str, Any]
    """A part of manager.toml."""
    notes: list[str]
    """What was not taken over, each with its place."""


def ossec_manager(conf: str, text: bytes, *, wazuh: bool, home: str) -> ManagerPart:
    """Read it.

    Args:
        conf: name of the file, for messages.
        text: what stands in it.
        wazuh: it is Wazuh's.
        home: the installation's folder, where the password for enrolment lies.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    part = ManagerPart({}, [])
    level = Options(*sections_of(conf, text, ("alerts",))).one("log_alert_level")
    part.tables["alerts"] = {"level": int(level) if level.isdigit() else _ALERT_LEVEL["wazuh" if wazuh else "ossec"]}
    for section in sections_of(conf, text, ("global",)):
        _tell(section, _GLOBAL, part)
        part.notes.extend(
            f"{section.file}:{option.line}: <{option.name}> is not known in <global>"
            for option in section.children
            if option.name not in _GLOBAL and option.name not in _TAKEN and not option.name.startswith("email_")
        )
    for section in sections_of(conf, text, ("alerts",)):
        _tell(section, _ALERTS, part)
    _global(Options(*sections_of(conf, text, ("global",))), part)
    if Options(*sections_of(conf, text, ("syscheck",))).yes("auto_ignore"):
        part.tables["syscheck"] = {"auto_ignore": True}
    for section in sections_of(conf, text, ("remote",)):
        _remote(section, part)
    for section in sections_of(conf, text, ("auth",)):
        _auth(section, part, home)
    for section in sections_of(conf, text, ("agentless",)):
        _agentless(section, part)
    return part


def _tell(section: Element, known: dict[str, str], part: ManagerPart) -> None:
    part.notes.extend(
        f"{section.file}:{option.line}: <{option.name}> is not taken over: {known[option.name]}"
        for option in section.children
        if known.get(option.name)
    )


def _global(options: Options, part: ManagerPart) -> None:
    if options.yes("logall") or options.yes("logall_json"):
        part.tables["archive"] = {"enabled": True}
    retention: dict[str, Any] = {}
    if options.one("compress_alerts") == "no":
        retention["compress"] = False
    if (size := options.one("max_output_size")) and size.rstrip("KMGkmgB").isdigit() and size.strip("0"):
        unit = {"K": 1 / 1024, "M": 1, "G": 1024}.get(size.rstrip("Bb")[-1:].upper(), 1 / 1024 / 1024)
        retention["rotate_mib"] = max(1, round(int(size.rstrip("KMGkmgBb")) * unit))
    if retention:
        part.tables["retention"] = retention
    if away := options.one("agents_disconnection_time"):
        try:
            part.tables["agents"] = {"disconnected_after_s": float(seconds(away))}
        except ValueError as error:
            part.notes.append(f"<agents_disconnection_time> is not taken over: {error}")
    if options.one("rotate_interval"):
        part.notes.append(
            "<rotate_interval> is not taken over: files are put away by day, and at [retention] rotate_mib"
        )


def _remote(section: Element, part: ManagerPart) -> None:
    options, where = Options(section), f"{section.file}:{section.line}: <remote>"
    protocols = set((options.one("protocol") or "udp").replace(",", " ").split())
    address = options.one("local_ip") or ("::" if options.yes("ipv6") else "")
    address = f"[{address}]" if ":" in address else address
    allow = [word for text in options.all("allowed-ips") for word in text.replace(",", " ").split()]
    deny = [word for text in options.all("denied-ips") for word in text.replace(",", " ").split()]
    if options.one("connection", "secure") == "syslog":
        for protocol in sorted(protocols):
            listen = f"{address}:{options.one('port', '514')}"
            table: dict[str, Any] = {"listen": listen, "protocol": protocol, "allow": list(map(_network, allow))}
            if deny:
                table["deny"] = list(map(_network, deny))
            if allow:
                part.tables.setdefault("syslog", []).append(table)
            else:
                part.notes.append(f"{where} is left out: without <allowed-ips> nobody may send syslog")
        return
    legacy = part.tables.setdefault("legacy", {"enabled": True})
    if "udp" in protocols:
        legacy["udp"] = f"{address}:{options.one('port', '1514')}"
    if "tcp" in protocols:
        part.tables["listen"] = {"agents": f"{address}:{options.one('port', '1514')}"}
    if options.one("crypto_accept") in ("blowfish", "both", "any"):
        legacy["blowfish"] = True
    if allow or deny:
        part.notes.append(
            f"{where}: <allowed-ips> and <denied-ips> are for syslog here; agents are known by their keys"
        )
    if options.one("queue_size") or options.one("rids_closing_time"):
        part.notes.append(
            f"{where}: queue_size and rids_closing_time are not taken over: nothing is dropped when a queue is full"
        )


def _network(text: str) -> str:
    """OSSEC also takes `10.0.0.0/255.0.0.0`, which needs no change, and `any`."""
    return "0.0.0.0/0" if text == "any" else text


_AUTHD_PASSWORD_FILE = "/etc/hids/authd.pass"  # noqa: S105 - a path


def _auth(section: Element, part: ManagerPart, home: str) -> None:
    options, where = Options(section), f"{section.file}:{section.line}: <auth>"
    if options.yes("disabled"):
        return
    legacy = part.tables.setdefault("legacy", {"enabled": True})
    if options.yes("use_password"):
        part.notes.append(
            f"{where}: the password is not copied: copy {home}/etc/authd.pass to {_AUTHD_PASSWORD_FILE}, mode 600, owned by the "
            f'manager\'s user, and set [legacy] password_file = "{_AUTHD_PASSWORD_FILE}"; until then nobody can enrol'
        )
    else:
        part.notes.append(f"{where}: nobody can enrol without a password here: set [legacy] password_file")
    if options.yes("use_source_ip"):
        legacy["use_source_ip"] = True
    if (port := options.one("port", "1515")) != "1515":
        part.tables["listen"] = part.tables.get("listen", {}) | {"join": f":{port}"}
    if others := sorted({option.name for option in section.children} - _AUTH_TAKEN):
        part.notes.append(f"{where}: not taken over: {', '.join(others)}")


def _agentless(section: Element, part: ManagerPart) -> None:
    options, where = Options(section), f"{section.file}:{section.line}: <agentless>"
    kind, arguments = options.one("type"), options.one("arguments")
    for host in options.all("host"):
        user = host.removeprefix("use_su ").removeprefix("use_sudo ").strip()
        if user != host:
            part.notes.append(f"{where}: {host!r}: ssh logs in as it is, without su or sudo: name a user who may")
        table: dict[str, Any] = {"host": user}
        if kind in _CHECKS:
            table |= {"type": "integrity_check", "paths": [word for word in arguments.split() if word.startswith("/")]}
        elif kind == "ssh_generic_diff" or options.one("run_command"):
            table |= {"type": "generic_diff", "run": options.one("run_command") or arguments}
        elif kind in _CONFIGS:
            table |= {"type": "generic_diff", "run": _CONFIGS[kind]}
            part.notes.append(
                f"{where}: {user}: {kind} is a plain {_CONFIGS[kind]!r} here; the device must need no enable"
            )
        else:
            part.notes.append(f'{where} is left out: type {kind!r} is a script of your own: use type "command"')
            continue
        if port := options.one("port"):
            table["port"] = int(port) if port.isdigit() else 22
        if frequency := options.one("frequency"):
            table["frequency_s"] = float(frequency) if frequency.isdigit() else 3600.0
        if not (table.get("run") or table.get("paths")):
            part.notes.append(f"{where} is left out: {user}: no <arguments> say what to look at")
            continue
        part.tables.setdefault("agentless", []).append(table)
