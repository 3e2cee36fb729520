"""Files that only a rootkit has, and programs that one replaced: by signatures.

A file is asked for in three ways: by its name, by opening it, and in the list of its folder. One that is there for any of them is
there; one that its folder does not list is hidden on top of that. What a package brought, and is as it brought it, is neither.
"""

import os
from collections.abc import Iterator, Sequence

from hids.agent.checks.files import rootkit_found
from hids.agent.checks.hashes import hashes
from hids.agent.checks.host import Host, Steps
from hids.agent.checks.regular import exists, open_regular
from hids.core.rootcheck.finding import finding
from hids.core.rootcheck.signatures import RootkitFile, Trojan, strings

TROJANS, PLACED = "trojans", "placed"
PROGRAM_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
MAX_PROGRAM_BYTES = 64 * 1024 * 1024
CHUNK = 256 * 1024
MAX_STRING = 4_096


def check_files(host: Host, entries: Sequence[RootkitFile]) -> Steps:
    """Look for each file at its place."""
    for number, entry in enumerate(entries):
        path = host.path(entry.path)
        there = exists(path) or _opens(path)
        listed = _is_listed(path)
        if (there or listed) and not host.is_ignored(path) and not host.packages.vouch_for(path):
            yield rootkit_found(host, entry, path, PLACED)
            if there and not listed:
                yield finding(PLACED, f"Anomaly detected in file '{host.shown(path)}'. Hidden from its folder.")
        if number % 64 == 0:
            yield None


def check_trojans(host: Host, entries: Sequence[Trojan]) -> Steps:
    """Look for texts in programs."""
    by_file: dict[tuple[int, int], tuple[str, list[Trojan]]] = {}
    for entry in entries:
        for path in _places(host, entry.program):
            try:
                info = os.stat(path)
            except OSError:
                continue
            by_file.setdefault((info.st_dev, info.st_ino), (path, []))[1].append(entry)
    yield None
    for path, wanted in by_file.values():
        if not host.is_ignored(path) and not host.packages.vouch_for(path):
            yield from _search(host, path, list(dict.fromkeys(wanted)))
        yield None


def _search(host: Host, path: str, wanted: list[Trojan]) -> Steps:
    for text in _strings(os.path.realpath(path)):
        if text is None:
            yield None
            continue
        for entry in [each for each in wanted if each.matcher.matches(text)]:
            wanted.remove(entry)
            note = entry.note or "Generic"
            words = (
                f"Trojaned version of file '{host.shown(path)}' detected. Signature used: '{entry.pattern}' ({note})."
            )
            yield finding(TROJANS, words + hashes(os.path.realpath(path)))


def _strings(path: str) -> Iterator[bytes | None]:
    """Texts of a program; None between parts. A text that is cut by the end of a part is put together."""
    file = open_regular(path)
    if file is None:
        return
    with file:
        left, rest = MAX_PROGRAM_BYTES, b""
        while left > 0:
            try:
                chunk = file.read(CHUNK)
            except OSError:
                return
            left -= len(chunk)
            data = rest + chunk
            texts = list(strings(data))
            cut = bool(chunk) and bool(texts) and data.endswith(texts[-1])
            rest = texts.pop()[-MAX_STRING:] if cut else data[-3:] if chunk else b""
            yield from (text[:MAX_STRING] for text in texts)
            yield None
            if not chunk:
                return


def _places(host: Host, program: str) -> Iterator[str]:
    if "/" in program:
        yield host.path(program)
    else:
        yield from (host.path(folder, program) for folder in PROGRAM_FOLDERS)


def _opens(path: str) -> bool:
    file = open_regular(path)
    if file is None:
        return False
    file.close()
    return True


def _is_listed(path: str) -> bool:
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder) as entries:  # it may have a million
            return any(entry.name == name for entry in entries)
    except OSError:
        return False
