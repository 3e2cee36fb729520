"""Who a process is, out of /proc: read at once, for it may end the next moment."""

import os
from pathlib import Path

from hids.agent.observe import group_name, user_name
from hids.agent.paths import shown
from hids.messages import MAX_PROCESS_TEXT, Who

PROC = Path("/proc")
_NOBODY = 0xFFFF_FFFF
"""The login uid of what no login started."""
_MAX_STATUS = 8_192


def who_is(pid: int, pidfd: int) -> Who:
    """Who a process is, as far as it can be told; `gone` where it ended before all was read.

    Args:
        pid: its number.
        pidfd: descriptor of it: tells whether what was read is of this process, or of the number's next owner.
    """
    gone = Who(pid=pid, gone=True)
    if pid <= 0 or pidfd < 0:
        return gone
    folder = PROC / str(pid)
    status = _status(folder)
    if not {"Uid", "Gid", "PPid"} <= status.keys():
        return gone
    uid, effective_uid = (int(text) for text in status["Uid"].split()[:2])
    gid = int(status["Gid"].split()[0])
    login_uid = int(_text(folder / "loginuid") or _NOBODY)
    ppid = int(status["PPid"])
    who = Who(
        pid=pid,
        uid=uid,
        user=user_name(uid),
        effective_uid=effective_uid,
        effective_user=user_name(effective_uid),
        login_uid=login_uid if login_uid != _NOBODY else -1,
        login_user=user_name(login_uid) if login_uid != _NOBODY else "",
        gid=gid,
        group=group_name(gid),
        process=_link(folder / "exe") or _bounded(status.get("Name", "")),
        command=_bounded(_text(folder / "cmdline").rstrip("\0").replace("\0", " ")),
        cwd=_link(folder / "cwd"),
        ppid=ppid,
        parent=_link(PROC / str(ppid) / "exe") if ppid else "",
    )
    return who if _lives(pidfd) else gone


def _status(folder: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in _text(folder / "status", _MAX_STATUS).splitlines())
    return {key: value.strip() for key, _, value in lines}


def _text(path: Path, most: int = MAX_PROCESS_TEXT) -> str:
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return _bounded(shown(os.readlink(path)))
    except OSError:  # it ended, or it is another user's and we may not trace
        return ""


def _bounded(text: str) -> str:
    return text[:MAX_PROCESS_TEXT]


def _lives(pidfd: int) -> bool:
    """Whether the process of a descriptor has a number still: a zombie does, one that was waited for does not."""
    try:
        lines = (PROC / "self" / "fdinfo" / str(pidfd)).read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("Pid:") and int(line[4:]) > 0 for line in lines)
