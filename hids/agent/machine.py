"""Which machine this is, in a form that may leave it."""

import hmac
import re
import secrets
from pathlib import Path

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.errors import StoreError

SYSTEM_FILE = Path("/etc/machine-id")

_SYSTEM_ID = re.compile(rb"[0-9a-f]{32}\n?")
_APPLICATION = b"hids agent"


def machine_id(folder: Path, system_file: Path = SYSTEM_FILE) -> str:
    """Return 32 hex digits that stay the same for this machine.

    machine-id(5) asks to keep the system's id confidential, so a keyed hash of it is used. Where there is
    none (minimal containers), a random id is kept in `folder`.

    Raises:
        StoreError: the id in `folder` is damaged or cannot be written.
    """
    try:
        system_id = system_file.read_bytes()
    except OSError:
        system_id = b""
    if _SYSTEM_ID.fullmatch(system_id):
        return hmac.digest(system_id.strip(), _APPLICATION, "sha256").hex()[:32]
    return _kept_id(folder)


def _kept_id(folder: Path) -> str:
    private_folder(folder)
    path = folder / "machine-id"
    kept = read_private(path)
    if kept is None:
        kept = secrets.token_hex(16).encode() + b"\n"
        write_atomically(path, kept)
    if not _SYSTEM_ID.fullmatch(kept):
        raise StoreError(f"{path}: expected 32 hex digits; remove the file and join the manager again")
    return kept.strip().decode()
