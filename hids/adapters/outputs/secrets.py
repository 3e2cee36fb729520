"""Secrets of outputs: read for each try, so that a new one needs no restart."""

from pathlib import Path

from hids.adapters.files import read_private
from hids.errors import StoreError


def secret_of(path: str) -> str:
    """The first line of a file that only its owner may read; empty for no path.

    Raises:
        StoreError: it cannot be read, others may read it, or nothing stands in it.
    """
    if not path:
        return ""
    data = read_private(Path(path))
    line = b"" if data is None else data.strip().partition(b"\n")[0].strip()
    if not line:
        raise StoreError(f"{path}: expected a secret in its first line, found none")
    return line.decode(errors="replace")
