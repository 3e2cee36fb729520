"""Bytes of a log file -> raw lines -> UTF-8, for files that are not UTF-8.

Offsets stay those of the file, so lines are cut before they are decoded. In UTF-16 a newline is two bytes at an even offset;
in all other encodings taken here it is the byte 0x0A, which is part of no other character.
"""

import codecs

from hids.errors import ConfigError

_WIDE = {"utf-16": b"", "utf-16-le": b"\n\0", "utf-16-be": b"\0\n"}
_REFUSED = ("utf-32", "utf-7", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")


class Encoding:
    """How one file's lines end and read. The empty name: bytes are left as they are."""

    def __init__(self, name: str = "", head: bytes = b"") -> None:
        """Settle on an encoding.

        Args:
            name: of a Python codec, or empty.
            head: the file's first bytes; a byte order mark decides what "utf-16" is (little endian without one).
        """
        self.codec = codec_of(name) if name else ""
        if self.codec == "utf-16":
            self.codec = "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
        self.newline = _WIDE.get(self.codec, b"\n")
        self.unit = len(self.newline)
        """Bytes; every offset is a multiple of it."""

    @property
    def mark(self) -> bytes:
        """What may stand at the start of the file and is no text."""
        if self.codec == "utf-16-le":
            return codecs.BOM_UTF16_LE
        if self.codec == "utf-16-be":
            return codecs.BOM_UTF16_BE
        return codecs.BOM_UTF8 if self.codec in ("utf-8", "utf-8-sig") else b""

    def cut(self, data: bytes) -> list[bytes]:
        """Cut at line ends, which are left out; the last piece is what has no line end yet."""
        if self.unit == 1:
            return data.split(b"\n")
        pieces: list[bytes] = []
        start, at = 0, data.find(self.newline)
        while at >= 0:
            if at % self.unit:
                at = data.find(self.newline, at + 1)
                continue
            pieces.append(data[start:at])
            start = at + self.unit
            at = data.find(self.newline, start)
        pieces.append(data[start:])
        return pieces

    def text(self, raw: bytes) -> bytes:
        """Write a raw line as UTF-8; what cannot be decoded is spelled as escapes."""
        if not self.codec:
            return raw
        return raw.decode(self.codec, "backslashreplace").encode("utf-8", "backslashreplace")


def codec_of(name: str) -> str:
    """The proper name of an encoding of log files.

    Raises:
        ConfigError: unknown, or none that text files have.
    """
    try:
        info = codecs.lookup(name)
    except LookupError as error:
        raise ConfigError(f'encoding {name!r} is not known; examples: "utf-16", "cp1252", "shift_jis"') from error
    if not getattr(info, "_is_text_encoding", True) or info.name.startswith(_REFUSED):
        raise ConfigError(f"encoding {name!r} is none of log files")
    return info.name
