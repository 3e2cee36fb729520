"""The manager's key for evidence: Ed25519, in a file of mode 0600; its public half beside it for whoever verifies."""

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hids.adapters.files import private_folder, read_private, write_atomically
from hids.errors import StoreError

KEY = "key.pem"
PUBLIC = "key.pub"

_PURPOSE = b"hids evidence head 1\n"
"""Before what is signed: a signature of this key is good for nothing else."""


class EvidenceKey:
    """Signs heads."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def open_or_create(cls, folder: Path) -> "EvidenceKey":
        """The key in `folder`; a new one when there is none.

        Raises:
            StoreError: unreadable, open to others, or no key.
        """
        private_folder(folder)
        data = read_private(folder / KEY)
        if data is None:
            key = cls(Ed25519PrivateKey.generate())
            pem = key._private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_atomically(folder / KEY, pem, 0o600)
        else:
            key = cls(_private(folder / KEY, data))
        if not (folder / PUBLIC).exists():
            write_atomically(folder / PUBLIC, f"{key.public}\n".encode(), 0o644)
        return key

    @property
    def public(self) -> str:
        """The public half, hex."""
        raw = self._private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return raw.hex()

    def sign(self, head: bytes) -> bytes:
        """Sign what a head says."""
        return self._private.sign(_PURPOSE + head)


def _private(path: Path, data: bytes) -> Ed25519PrivateKey:
    try:
        loaded = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path}: not a private key in PEM: {error}") from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise StoreError(f"{path}: expected an Ed25519 key; move it away, and a new one is made")
    return loaded


def public_key(folder: Path) -> str | None:
    """The public half as it lies beside the key; None when there is none."""
    try:
        return (folder / PUBLIC).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{folder / PUBLIC}: cannot be read: {error}") from error


def fingerprint(public: str) -> str:
    """A public key in short, to compare by eye and to give to `--key`."""
    return "sha256:" + hashlib.sha256(bytes.fromhex(public)).hexdigest()


def is_signed(public: str, head: bytes, signature: bytes) -> bool:
    """Whether this key signed this head."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, _PURPOSE + head)
    except (InvalidSignature, ValueError):
        return False
    return True
