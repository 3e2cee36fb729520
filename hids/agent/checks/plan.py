"""Which checks a configuration asks for, in the order in which they run: what is quick and telling comes first."""

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hids.agent.checks import executables, files, interfaces, known, modules, ports, processes, settings
from hids.agent.checks.databases import TITLES, Databases
from hids.agent.checks.files import Walk
from hids.agent.checks.host import Host, Steps


class Planned(NamedTuple):
    """One check."""

    names: tuple[str, ...]
    """`Finding.check` of what it finds."""
    steps: Steps


class Plan:
    """The checks of one scan."""

    def __init__(self, host: Host, databases: Databases, census: Mapping[str, str] | None) -> None:
        self._host = host
        self._databases = databases
        anywhere = [entry for entry in databases.files if entry.anywhere] if host.config.check_files else []
        self.walk = Walk(host, census, anywhere)

    def checks(self) -> Iterator[Planned]:
        """One after the other; each is begun when it is its turn."""
        config, host, databases = self._host.config, self._host, self._databases
        if config.check_pids:
            yield Planned((processes.CHECK,), processes.check(host))
        if config.check_modules:
            yield Planned((modules.CHECK,), modules.check(host))
        if config.check_if:
            yield Planned((interfaces.CHECK,), interfaces.check(host))
        if config.check_preload:
            yield Planned((executables.PRELOAD,), executables.check_preload(host))
        if config.check_deleted:
            yield Planned((executables.DELETED,), executables.check_deleted(host))
        if config.check_ports:
            yield Planned((ports.CHECK,), ports.check(host))
        if config.check_dev:
            yield Planned((files.DEV,), files.check_dev(host))
        if config.check_trojans:
            yield Planned((known.TROJANS,), known.check_trojans(host, databases.trojans))
        yield from self._audits()
        if config.check_files:
            placed = [entry for entry in databases.files if not entry.anywhere]
            yield Planned((known.PLACED,), known.check_files(host, placed))
        if config.check_files or config.check_sys or config.check_setuid:
            yield Planned((files.SYS, files.SETUID, files.FILES), self.walk.steps())

    def _audits(self) -> Iterator[Planned]:
        config, on_windows = self._host.config, sys.platform == "win32"
        wanted = {
            "system_audit": config.check_unixaudit and not on_windows,
            "windows_audit": config.check_winaudit and on_windows,
            "windows_apps": config.check_winapps and on_windows,
            "windows_malware": config.check_winmalware and on_windows,
        }
        for key, database in self._databases.audits:
            if wanted[key]:
                name = f"{key} {database.path}"
                yield Planned((name,), settings.check(self._host, database, TITLES[key], name))
