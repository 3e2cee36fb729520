"""Databases of signatures and settings, from disk. What is wrong in one is told with file and line; the rest of it is used."""

from pathlib import Path
from typing import NamedTuple

from hids.adapters.paths import shipped
from hids.agent.config import RootcheckConfig
from hids.core.rootcheck import audit, signatures
from hids.core.rootcheck.audit import Database
from hids.core.rootcheck.signatures import RootkitFile, Trojan
from hids.errors import Problem

OURS = (("rootkit_files", "rootkit_files.txt"), ("rootkit_trojans", "rootkit_trojans.txt"))
TITLES = {
    "system_audit": "System Audit",
    "windows_audit": "Windows Audit",
    "windows_apps": "Application Found",
    "windows_malware": "Windows Malware",
}
"""Key of the configuration -> what begins a finding, as OSSEC's users' rules know it."""


class Databases(NamedTuple):
    """All that a configuration names."""

    files: tuple[RootkitFile, ...]
    trojans: tuple[Trojan, ...]
    audits: tuple[tuple[str, Database], ...]
    """Each with its key in `TITLES`."""
    problems: tuple[Problem, ...]


def load(config: RootcheckConfig) -> Databases:
    """Read all files that are named, and those that come with hids."""
    named = [*config.databases()]
    if config.signatures:
        named = [(key, str(shipped("signatures") / name)) for key, name in OURS] + named
    files: list[RootkitFile] = []
    trojans: list[Trojan] = []
    audits: list[tuple[str, Database]] = []
    problems: list[Problem] = []
    for key, path in named:
        try:
            text = _text(Path(path))
        except OSError as error:
            problems.append(Problem(path, 0, f"[rootcheck] {key}: cannot be read: {error.strerror or error}"))
            continue
        if key == "rootkit_files":
            read, wrong = signatures.rootkit_files(path, text)
            files += read
        elif key == "rootkit_trojans":
            programs, wrong = signatures.trojans(path, text)
            trojans += programs
        else:
            database = audit.parse(path, text)
            audits.append((key, database))
            wrong = database.problems
        problems += wrong
    return Databases(tuple(files), tuple(trojans), tuple(audits), tuple(problems))


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        return file.read(audit.MAX_DATABASE_BYTES + 1)
