"""Files that a manager pushes: how they are cut into messages, and merged.mg, the one in which all others are.

    #!-up file MD5 NAME LF      then the content, in messages without a header      then #!-close file

    merged.mg = "!" SIZE " " NAME LF, SIZE bytes; again and again

Names come from the other side of a weak protocol, so only plain ones are taken.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping

import msgspec

from hids.core.wire.ossec.control import MARK
from hids.errors import ConfigError, RemoteProtocolError

CHUNK = 900
"""Bytes of content in a message: even what does not deflate fits the 1,024 bytes that an OSSEC agent reads."""
MAX_FILE_BYTES = 16 * 1024 * 1024
"""The default shared files of OSSEC are 1.1 MB together."""
MERGED = "merged.mg"
PAUSE_AFTER = 31
"""Messages after which a sender over UDP rests for a second, so that the agent's socket does not overflow."""

_UP = MARK + b"up file "
_CLOSE = MARK + b"close file "
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_UP_LINE = re.compile(rb"([0-9a-f]{32}) ([^\n]{1,255})\n?")
_HEAD = re.compile(rb"!([0-9]{1,9}) ([^\n]{1,255})\n")


def is_plain(name: str) -> bool:
    """Whether a file may be written under this name: no folder, no hidden file, no device of Windows."""
    return bool(_PLAIN_NAME.fullmatch(name)) and not _DEVICE.fullmatch(name)


def md5_of(content: bytes) -> str:
    """The sum that both sides compare."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def push(name: str, content: bytes, chunk: int = CHUNK) -> Iterator[bytes]:
    """The payloads that bring a file to an agent, in order."""
    yield _UP + f"{md5_of(content)} {name}\n".encode()
    start = 0
    while start < len(content):
        end = start + chunk
        if content.startswith(MARK, end):  # it would be taken for a control message
            end -= 1
        yield content[start:end]
        start = end
    yield _CLOSE


def check_pushable(name: str, content: bytes) -> None:
    """Refuse what agents would not receive as it is.

    Raises:
        ConfigError: the name is not plain; the content is too large, begins like a control message or has a NUL.
    """
    if not is_plain(name):
        raise ConfigError(f"shared file {name!r}: expected a plain name of A-Z a-z 0-9 . _ + -")
    if b"\0" in content:
        raise ConfigError(f"shared file {name}: has a NUL byte; old agents receive text only")
    if content.startswith(MARK):
        raise ConfigError(f"shared file {name}: begins with {MARK.decode()}, which agents take for a command")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"shared file {name}: {len(content)} bytes; at most {MAX_FILE_BYTES} are pushed")


def merge(files: Mapping[str, bytes]) -> bytes:
    """Make merged.mg of files by name.

    Raises:
        ConfigError: one of them cannot be pushed.
    """
    for name, content in files.items():
        check_pushable(name, content)
    merged = b"".join(b"!%d %s\n" % (len(content), name.encode()) + content for name, content in sorted(files.items()))
    check_pushable(MERGED, merged)
    return merged


def split_merged(merged: bytes) -> dict[str, bytes]:
    """The files in a merged.mg.

    Raises:
        RemoteProtocolError: a size beyond the end, a name that is not plain or there twice.
    """
    files: dict[str, bytes] = {}
    place = 0
    while place < len(merged):
        head = _HEAD.match(merged, place)
        if head is None:
            if merged.startswith(b"!", place):
                raise RemoteProtocolError(f"merged.mg: expected !SIZE NAME at byte {place}")
            place = merged.find(b"\n", place) + 1 or len(merged)  # a comment, such as Wazuh's #GROUP
            continue
        size, name = int(head[1]), head[2].decode(errors="replace")
        content = merged[head.end() : head.end() + size]
        if len(content) < size:
            raise RemoteProtocolError(f"merged.mg: {name[:60]!r} is to have {size} bytes, {len(content)} are left")
        if not is_plain(name):
            raise RemoteProtocolError(f"merged.mg: the name {name[:60]!r} is not plain")
        if name.lower() in map(str.lower, files):
            raise RemoteProtocolError(f"merged.mg: {name!r} is there twice")
        files[name] = content
        place = head.end() + size
    return files


class Pushed(msgspec.Struct, frozen=True):
    """A file that came whole."""

    name: str
    content: bytes


class Receiver:
    """The agent's side of a push: payloads in, a file out. Bounded; nothing is written before the sum is right."""

    def __init__(self) -> None:
        self._name = ""
        self._sum = ""
        self._content = bytearray()

    @property
    def is_open(self) -> bool:
        """A file is on its way."""
        return bool(self._name)

    def up(self, rest: bytes) -> None:
        """`#!-up file` came; what was on its way before is given up.

        Raises:
            RemoteProtocolError: malformed, or not a plain name.
        """
        self.drop()
        line = _UP_LINE.fullmatch(rest)
        name = line[2].decode(errors="replace") if line is not None else ""
        if line is None or not is_plain(name):
            raise RemoteProtocolError(f"expected up file MD5 NAME, got {rest[:80]!r}")
        self._name, self._sum = name, line[1].decode()

    def add(self, chunk: bytes) -> None:
        """Content came.

        Raises:
            RemoteProtocolError: no file is open, or it grows too large.
        """
        if not self._name:
            raise RemoteProtocolError(f"{len(chunk)} bytes of a file came, but none was announced")
        if len(self._content) + len(chunk) > MAX_FILE_BYTES:
            self.drop()
            raise RemoteProtocolError(f"a file of more than {MAX_FILE_BYTES} bytes came")
        self._content += chunk

    def close(self) -> Pushed | None:
        """`#!-close file` came: the file, or None when the sum is wrong or nothing was open."""
        name, wanted, content = self._name, self._sum, bytes(self._content)
        self.drop()
        return Pushed(name, content) if name and md5_of(content) == wanted else None

    def drop(self) -> None:
        """Forget what is on its way."""
        self._name = self._sum = ""
        self._content.clear()
