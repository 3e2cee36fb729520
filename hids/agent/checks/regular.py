"""Opening what an intruder may have laid out: only regular files, never a link, a pipe or a device."""

import os
import stat
from typing import IO


def open_regular(path: str) -> IO[bytes] | None:
    """Open a regular file for reading, whatever lies there: no link at its end is followed, no device is touched.

    Returns:
        None when it is no regular file, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def exists(path: str) -> bool:
    """Whether something lies there, a broken link too."""
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True
