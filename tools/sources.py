"""Which of this machine's own logs the current user can read, and what to do about the others."""

import grp
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

LOGS = (
    "/var/log/auth.log",
    "/var/log/secure",
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/cron",
    "/var/log/maillog",
    "/var/log/vsftpd.log",
    "/var/log/apache2/*.log",
    "/var/log/httpd/*_log",
    "/var/log/nginx/*.log",
)
"""Files and patterns, Debian's and Red Hat's."""

WITHOUT_SYSLOG = ("/var/log/kern.log", "/var/log/cron.log", "/var/log/mail.log")
"""Debian writes these lines into syslog too: reading both would count each event twice."""

JOURNAL_S = 10.0


class Sources(NamedTuple):
    """What was found."""

    paths: list[str]
    """Files and patterns that can be read."""
    journal: bool
    """Read the journal: it can be read, and no file holds the same lines."""
    notes: list[str]
    """What is left out and why, for a person."""


def look() -> Sources:
    """Look at all places where logs usually are."""
    paths: list[str] = []
    notes: list[str] = []
    for pattern in LOGS:
        _sort(pattern, paths, notes)
    if "/var/log/syslog" not in paths:
        for pattern in WITHOUT_SYSLOG:
            _sort(pattern, paths, notes)
    in_files = {"/var/log/syslog", "/var/log/messages"} & {*paths}
    journal = False
    if shutil.which("journalctl") is not None and not in_files:
        journal = _journal_answers()
        if not journal:
            notes.append("the journal: " + ("empty" if os.geteuid() == 0 else _advice("systemd-journal")))
    return Sources(paths, journal, notes)


def _sort(pattern: str, paths: list[str], notes: list[str]) -> None:
    """Put a file or pattern where it belongs; nowhere when it is not there."""
    folder = Path(pattern).parent
    if not folder.is_dir():
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        notes.append(f"{pattern}: {_advice(_group_for(folder))}")
        return
    found = list(folder.glob(Path(pattern).name))
    closed = [path for path in found if not os.access(path, os.R_OK)]
    if len(closed) < len(found):
        paths.append(pattern)
    notes.extend(f"{path}: {_advice(_group_for(path))}" for path in closed)


def _group_for(path: Path) -> str:
    """The group whose members may read a path; empty when only its owner may."""
    info = path.stat()
    if not info.st_mode & stat.S_IRGRP:
        return ""
    try:
        return grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        return ""


def _advice(group: str) -> str:
    if group in ("", "root"):
        return "only root may read it: sudo tools/try"
    user = pwd.getpwuid(os.geteuid()).pw_name
    return f"join the group {group}: sudo usermod -aG {group} {user}, then log in anew (or: sudo tools/try)"


def _journal_answers() -> bool:
    """Tell whether the journal of the system has anything for this user."""
    command = [shutil.which("journalctl") or "journalctl", "--system", "--quiet", "--lines=1", "--output=cat"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=JOURNAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def agent_toml(sources: Sources, watched: Path, always: list[Path], exclude: list[Path]) -> str:
    """agent.toml for these sources, the files `always`, and a watched folder."""
    parts = [f"exclude = [{', '.join(map(_quoted, exclude))}]"]
    parts += [f'[[source]]\npath = {_quoted(path)}\nfrom = "end"' for path in sources.paths]
    parts += [f'[[source]]\npath = {_quoted(path)}\nfrom = "start"' for path in always]
    if sources.journal:
        parts.append('[[source]]\npath = "journald"\nformat = "journal"\nfrom = "end"')
    parts.append(f"[syscheck]\ndirectories = [{_quoted(watched)}]")
    return "\n\n".join(parts) + "\n"


def _quoted(path: str | Path) -> str:
    """As a TOML string: a literal one, as paths of ours have no quote in them."""
    return f"'{path}'"
