"""What comes without an agent: syslog, and hosts that are looked at over SSH. Both share a journal."""

import hashlib
import ssl
from typing import Literal

from hids.actors.agentless import Agentless, Check
from hids.actors.stage import Mailbox
from hids.actors.syslog_intake import Backlog, SyslogIntake
from hids.actors.syslog_listener import SyslogListener
from hids.adapters.arrivals import ArrivalJournal
from hids.adapters.files import private_folder, write_atomically
from hids.adapters.listening import listen, listen_udp
from hids.adapters.ssh import Remote, words_of
from hids.adapters.ssh import run as run_ssh
from hids.adapters.syslog_ports import Door, SyslogPorts, Take, tls_context
from hids.errors import ConfigError
from hids.manager.config import AgentlessHost, Syslog, networks_of
from hids.manager.port import Port
from hids.manager.site import Site

MIB = 1024 * 1024


class Devices:
    """Ports, mailboxes and lives."""

    def __init__(self, site: Site) -> None:
        """Bind the ports of `[[syslog]]`.

        Raises:
            ConfigError: a port is taken, or a certificate cannot be used.
        """
        self._site = site
        self._syslog = site.config.syslog
        self.hosts = site.config.agentless
        self._backlog = Backlog()
        self.intake = Mailbox("syslog_intake", 16)
        self.ports = tuple(
            Port(_name(number), port.listen, listen_udp if port.protocol == "udp" else listen)
            for number, port in enumerate(self._syslog)
        )
        self._contexts = tuple(
            _context(number, port) if port.protocol == "tls" else None for number, port in enumerate(self._syslog)
        )

    def start_intake(self, mailbox: Mailbox) -> object:
        """One life of the thread that has the journal."""
        site = self._site
        return SyslogIntake.start(
            mailbox,
            lambda: ArrivalJournal(site.paths.syslog, site.clock.now_ms()),
            site.manager,
            site.progress,
            self._backlog,
            site.clock,
            site.dispatcher.tell,
            max_bytes=site.config.limits.syslog_mib * MIB,
        )

    def start_listener(self, mailbox: Mailbox) -> object:
        """One life of the listener on all ports of syslog."""
        site = self._site
        doors = [
            Door(
                sock=port.open(),
                protocol=syslog.protocol,
                allow=networks_of(syslog.allow, "allow"),
                deny=networks_of(syslog.deny, "deny"),
                context=context,
                max_connections=syslog.max_connections,
            )
            for port, syslog, context in zip(self.ports, self._syslog, self._contexts, strict=True)
        ]

        def open_ports(take: Take) -> SyslogPorts:
            return SyslogPorts(doors, take)

        return SyslogListener.start(
            mailbox, open_ports, self.intake, self._backlog, site.manager, site.clock, site.dispatcher.tell
        )

    def start_check(self, host: AgentlessHost, mailbox: Mailbox) -> object:
        """One life of the check of one host."""
        site = self._site
        remote = Remote(host.host, host.port, host.identity, host.options)
        command = host.run or words_of(host.paths)
        kind: Literal["diff", "command"] = "command" if host.type == "command" else "diff"
        private_folder(site.paths.agentless)
        name = hashlib.sha256(f"{host.name}\0{host.port}\0{command}".encode()).hexdigest()[:32]
        path = site.paths.agentless / name

        def keep(text: bytes) -> None:
            write_atomically(path, text)

        async def look() -> tuple[bytes, str]:
            return await run_ssh(remote, command, host.timeout_s)

        return Agentless.start(
            mailbox,
            Check(host.name, kind, host.run, host.frequency_s),
            look,
            lambda: path.read_bytes() if path.exists() else None,
            keep,
            self.intake,
            site.manager,
            site.clock,
            site.dispatcher.tell,
        )


def _name(number: int) -> str:
    return f"[[syslog]] number {number + 1}"


def _context(number: int, port: Syslog) -> ssl.SSLContext:
    try:
        return tls_context(port.certificate, port.key, port.client_ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{_name(number)}: certificate {port.certificate}: {error}") from error
