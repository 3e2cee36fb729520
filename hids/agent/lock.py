"""One agent a state folder."""

import fcntl
import os
from pathlib import Path

from hids.adapters.files import private_folder
from hids.errors import StoreError

_FILE = "lock"


def lock(folder: Path) -> int:
    """Hold the state folder for this process; returns the descriptor that holds it.

    Raises:
        StoreError: another agent runs with it, or the folder cannot be used.
    """
    private_folder(folder)
    path = folder / _FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: cannot open: {error.strerror}; run the agent as the folder's owner") from error
    if not _try(descriptor, fcntl.LOCK_EX):
        os.close(descriptor)
        raise StoreError(
            f"{folder}: another hids-agent runs with this state folder; stop it or name another with --state"
        )
    return descriptor


def is_locked(folder: Path) -> bool:
    """Tell whether an agent runs with this state folder."""
    try:
        descriptor = os.open(folder / _FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
