"""Who a process is, out of /proc: read at once, for it may end the next moment."""

import os
import signal
from pathlib import Path

import msgspec

from hids.agent.observe import group_name, user_name
from hids.agent.paths import shown
from hids.messages.syscheck import MAX_PROCESS_TEXT, Who

PROC = Path("/proc")
_NOBODY = 0xFFFF_FFFF
"""The login uid of what no login started."""
_MAX_STATUS = 8_192


def who_is(pid: int, pidfd: int) -> Who:
    """Who a process is, as far as it can be told: less where it ended meanwhile, `gone` where it ended before.

    Args:
        pid: its number.
        pidfd: descriptor of it: tells whether what was read is of this process, or of the number's next owner.
    """
    gone = Who(pid=pid, gone=True)
    if pid <= 0 or pidfd < 0:
        return gone
    folder = PROC / str(pid)
    process = _link(folder / "exe")
    status = _status(folder)
    if not (status and _lives(pidfd)):
        return gone
    uid, effective_uid = (int(text) for text in status["Uid"].split()[:2])
    gid = int(status["Gid"].split()[0])
    ppid = int(status["PPid"])
    who = Who(
        pid=pid,
        uid=uid,
        user=user_name(uid),
        effective_uid=effective_uid,
        effective_user=user_name(effective_uid),
        gid=gid,
        group=group_name(gid),
        process=process or _bounded(status["Name"]),
        ppid=ppid,
    )
    login_uid = int(_text(folder / "loginuid") or _NOBODY)
    more = msgspec.structs.replace(
        who,
        login_uid=login_uid if login_uid != _NOBODY else -1,
        login_user=user_name(login_uid) if login_uid != _NOBODY else "",
        command=_bounded(_text(folder / "cmdline").rstrip("\0").replace("\0", " ")),
        cwd=_link(folder / "cwd"),
        parent=_link(PROC / str(ppid) / "exe") if ppid else "",
    )
    return more if _lives(pidfd) else who


def _status(folder: Path) -> dict[str, str]:
    """What it says of itself; nothing when it is not there."""
    lines = (line.partition(":") for line in _text(folder / "status", _MAX_STATUS).splitlines())
    status = {key: value.strip() for key, _, value in lines}
    return status if status.keys() >= {"Name", "Uid", "Gid", "PPid"} else {}


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
    """Whether the process of a descriptor has its number still: a zombie has, one that was waited for has not."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
