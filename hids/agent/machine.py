"""Which machine this is, in a form that may leave it."""

import hmac
import platform
import re
import secrets
import socket
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
    own = system_id(system_file)
    return hmac.digest(own.encode(), _APPLICATION, "sha256").hex()[:32] if own else _kept_id(folder)


def system_id(system_file: Path = SYSTEM_FILE) -> str:
    """What systemd calls this machine, 32 hex digits that shall not leave it; empty where there is none."""
    try:
        text = system_file.read_bytes()
    except OSError:
        return ""
    return text.decode().strip() if _SYSTEM_ID.fullmatch(text) else ""


def os_name() -> str:
    """The operating system in two words, e.g. "debian 12"."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    return f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()


def host_name() -> str:
    """This host's short name, as syslog writes it."""
    return socket.gethostname().partition(".")[0] or "localhost"


def host_address() -> str:
    """The address from which this host would reach others; empty when it has no route."""
    for family, outside in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, 9))  # sends nothing; addresses of RFC 5737 and RFC 3849
                address: str = probe.getsockname()[0]
                return address
        except OSError:
            continue
    return ""


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
