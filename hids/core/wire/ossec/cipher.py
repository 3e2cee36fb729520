"""The ciphers of the old protocol. Encrypting is all they do: whether a message is genuine shows its checksum.

Each wants its own marker on the wire, but OSSEC's and Wazuh's AES have the same one.
"""

from collections.abc import Callable, Iterator
from enum import Enum

from cryptography.hazmat.decrepit.ciphers.algorithms import Blowfish
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

_BLOWFISH_IV = bytes.fromhex("fedcba9876543210")
_WAZUH_IV = b"FEDCBA0987654321"
_AES_KEY_BYTES = 32
_BLOCK = 16
BLOWFISH_BLOCK = 8

RandomBytes = Callable[[int], bytes]


class Method(Enum):
    """How a message is encrypted."""

    BLOWFISH = "blowfish"
    """OSSEC up to 3.8, and whoever is told to."""
    OSSEC_AES = "ossec-aes"
    """OSSEC from 4.0 on: a random IV goes before the ciphertext."""
    WAZUH_AES = "wazuh-aes"
    """A fixed IV, which is not sent."""

    @property
    def marker(self) -> bytes:
        """What stands before the ciphertext."""
        return b":" if self is Method.BLOWFISH else b"#AES:"


class Keyring:
    """One agent's key, ready to use."""

    def __init__(self, key: bytes) -> None:
        self._blowfish: Cipher[modes.CBC] | None = None
        self._key = key
        self._aes = AES(key[:_AES_KEY_BYTES])
        self._wazuh = Cipher(self._aes, modes.CBC(_WAZUH_IV))

    def encrypt(self, plain: bytes, method: Method, random: RandomBytes) -> bytes:
        """Encrypt; for Blowfish the length must be a multiple of 8."""
        match method:
            case Method.BLOWFISH:
                return _run(self._with_blowfish().encryptor(), plain)
            case Method.WAZUH_AES:
                return _run(self._wazuh.encryptor(), _padded(plain))
            case Method.OSSEC_AES:
                iv = random(_BLOCK)
                return iv + _run(Cipher(self._aes, modes.CBC(iv)).encryptor(), _padded(plain))

    def decrypt_blowfish(self, data: bytes) -> bytes | None:
        """The plaintext, or None when the length alone tells that it is none."""
        if not data or len(data) % BLOWFISH_BLOCK:
            return None
        return _run(self._with_blowfish().decryptor(), data)

    def decrypt_aes(self, data: bytes) -> Iterator[tuple[Method, bytes]]:
        """What it may mean, likeliest first: decrypted once, read in OSSEC's and in Wazuh's way.

        CBC makes this possible: with any first IV only the first block comes out wrong, and in OSSEC's form that block is
        the IV that was sent.
        """
        if not data or len(data) % _BLOCK:
            return
        padded = _run(self._wazuh.decryptor(), data)
        padding = padded[-1]
        if not 1 <= padding <= _BLOCK or padded[-padding:] != padded[-1:] * padding:
            return
        plain = padded[:-padding]
        if len(plain) > _BLOCK:
            yield Method.OSSEC_AES, plain[_BLOCK:]
        yield Method.WAZUH_AES, plain

    def _with_blowfish(self) -> Cipher[modes.CBC]:
        if self._blowfish is None:
            self._blowfish = Cipher(Blowfish(self._key), modes.CBC(_BLOWFISH_IV))
        return self._blowfish


def _padded(plain: bytes) -> bytes:
    missing = _BLOCK - len(plain) % _BLOCK
    return plain + bytes((missing,)) * missing


def _run(context: CipherContext, data: bytes) -> bytes:
    return context.update(data) + context.finalize()
