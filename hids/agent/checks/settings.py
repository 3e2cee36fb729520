"""What audit databases ask about: files, folders, processes, and on Windows the registry."""

import functools
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import psutil

from hids.agent.checks.host import Host, Steps
from hids.agent.checks.regular import exists, open_regular
from hids.core.rootcheck.audit import Database
from hids.core.rootcheck.finding import finding
from hids.core.rootcheck.judge import Process, judge, words

MAX_FILE_BYTES = 1024 * 1024
"""Of a file, so much is looked at: settings are small."""
MAX_LINE = 4_096
MAX_ENTRIES = 20_000
"""Of all below one folder."""
MAX_DEPTH = 16
MAX_MATCHES = 1_000
"""Paths for one pattern."""


def check(host: Host, database: Database, title: str, check_name: str) -> Steps:
    """Judge one database; `title` begins what is told, as OSSEC's users know it."""
    views = HostViews(host)
    for found in judge(database, views):
        yield finding(check_name, words(title, found._replace(file=host.shown(found.file)))) if found else None


class HostViews:
    """`Views` of this host. Answers about processes are kept: one object for a database."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def paths(self, target: str) -> Iterable[str]:
        """Those that a target names; Windows' `%NAME%` are filled in there."""
        path = os.path.expandvars(target) if self.has_registry else target
        path = self._host.path(path)
        if not any(mark in target for mark in "*?["):
            return (path,)
        return islice(glob.iglob(path), MAX_MATCHES)

    def exists(self, path: str) -> bool:
        """Whether it is there and not left out."""
        return exists(path) and not self._host.is_ignored(path)

    def lines(self, path: str) -> Iterable[bytes] | None:
        """Lines of a file, links followed."""
        if self._host.is_ignored(path):
            return None
        file = open_regular(os.path.realpath(path))
        if file is None:
            return None
        with file:
            try:
                data = file.read(MAX_FILE_BYTES)
            except OSError:
                return None
        return (line[:MAX_LINE].rstrip(b"\r") for line in data.removesuffix(b"\n").split(b"\n"))

    def entries(self, path: str) -> Iterable[tuple[bytes, str]]:
        """All below a folder; links are named, not followed."""
        return islice(self._entries(path), MAX_ENTRIES)

    def _entries(self, top: str) -> Iterator[tuple[bytes, str]]:
        waiting = [(top, 1)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(islice(found, MAX_ENTRIES), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if depth < MAX_DEPTH and not self._host.is_left_out(entry.path):
                        waiting.append((entry.path, depth + 1))
                elif not self._host.is_ignored(entry.path):
                    yield os.fsencode(entry.name), entry.path

    def processes(self) -> Sequence[Process]:
        """What runs."""
        return self._processes

    @functools.cached_property
    def _processes(self) -> tuple[Process, ...]:
        return tuple(_process(each.info) for each in psutil.process_iter(["name", "exe", "cmdline"], ad_value=None))

    @property
    def has_registry(self) -> bool:
        """On Windows."""
        return sys.platform == "win32"

    def values(self, key: str) -> Mapping[str, str] | None:
        """Of the registry, on Windows."""
        if sys.platform != "win32":
            return None
        from hids.agent.registrykeys import RegistryError  # noqa: PLC0415 - Windows only
        from hids.agent.winregistry import LiveRegistry  # noqa: PLC0415 - Windows only

        try:
            return LiveRegistry().values(key)
        except RegistryError:
            return None


def _process(info: Mapping[str, Any]) -> Process:
    texts = (info["name"] or "", info["exe"] or "", " ".join(info["cmdline"] or ()))
    return Process(*(text[:MAX_LINE].encode("utf-8", "surrogateescape") for text in texts))
