"""Small files that must be whole or not there: keys, certificates, identities."""

import os
import secrets
from pathlib import Path

from hids.errors import StoreError

MAX_SMALL_FILE = 256 * 1024
"""Bytes. Keys and certificates are a few KiB; more than this is not one of ours."""

_OTHERS = 0o077


def private_folder(folder: Path) -> None:
    """Make `folder`, with mode 0700, unless it exists.

    Raises:
        StoreError: it cannot be made, or is no folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot make this folder: {error.strerror}") from error


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` on disk under `path` with `mode`: after a crash there is the old file or the new one, whole.

    Raises:
        StoreError: the disk or the folder does not take it; the old file is untouched.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            _write_durably(draft, data, mode)
            draft.replace(path)
            sync_folder(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot write: {error.strerror}; check free space and who owns the folder") from error


def read_private(path: Path) -> bytes | None:
    """Read a file that holds a secret; None when it does not exist.

    Raises:
        StoreError: unreadable, too large, or open to other users.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_SMALL_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot read: {error.strerror}") from error
    if mode & _OTHERS:
        raise StoreError(f"{path}: holds a secret, but others may open it (mode {mode & 0o777:o}); chmod 600 it")
    if len(data) > MAX_SMALL_FILE:
        raise StoreError(f"{path}: expected at most {MAX_SMALL_FILE} bytes; this is not a file of ours")
    return data


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # exact, whatever the umask is
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
