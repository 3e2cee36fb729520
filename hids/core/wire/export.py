"""The journal's export format (systemd, "Journal Export Formats"): bytes in, entries out, however they arrive.

A field is `NAME=value` and a line end; one whose value is not plain text is `NAME`, a line end, its length as 64 bit
little-endian, the value, a line end. An empty line ends an entry.
"""

import struct

from hids.errors import RemoteProtocolError

MAX_ENTRY_BYTES = 4 * 1024 * 1024
"""An entry may hold a core dump. Larger ones are refused; journald's own limit for a field is 768 MiB."""

WANTED = frozenset(
    {
        b"__CURSOR",
        b"__REALTIME_TIMESTAMP",
        b"_HOSTNAME",
        b"SYSLOG_IDENTIFIER",
        b"_COMM",
        b"SYSLOG_PID",
        b"_PID",
        b"_SYSTEMD_UNIT",
        b"MESSAGE",
    }
)
"""Fields that are kept; all others are skipped unseen."""

_LENGTH = struct.Struct("<Q")
_MAX_NAME = 256
_LINE_END = 0x0A

Entry = dict[bytes, bytes]


class ExportReader:
    """Cuts a stream of export bytes into entries."""

    def __init__(self, limit: int = MAX_ENTRY_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._start = 0
        self._entry: Entry = {}
        self._skip = 0
        """Bytes of a value that is too long to keep, still to come."""

    def feed(self, data: bytes) -> list[Entry]:
        """Take what arrived and return the entries that it completes.

        A value longer than the limit is left out of its entry.

        Raises:
            RemoteProtocolError: this is not the export format. The reader is of no use afterwards.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data
        entries: list[Entry] = []
        while self._skip == 0 and self._field(entries):
            pass
        del self._buffer[: self._start]
        self._start = 0
        return entries

    def _field(self, entries: list[Entry]) -> bool:
        """Take one field or the end of an entry; False when more bytes are needed."""
        end = self._buffer.find(b"\n", self._start)
        if end < 0:
            if len(self._buffer) - self._start > self._limit:
                raise RemoteProtocolError(f"a journal field without an end within {self._limit} bytes")
            return False
        if end == self._start:
            self._start = end + 1
            if self._entry:
                entries.append(self._entry)
                self._entry = {}
            return True
        name, equals, value = bytes(self._buffer[self._start : end]).partition(b"=")
        if not equals:
            return self._binary(name, end + 1)
        self._start = end + 1
        self._keep(name, value)
        return True

    def _binary(self, name: bytes, start: int) -> bool:
        if len(name) > _MAX_NAME:
            raise RemoteProtocolError(f"a journal field's name has {len(name)} bytes; is this the export format?")
        if len(self._buffer) < start + _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        start += _LENGTH.size
        if length > self._limit:
            have = len(self._buffer) - start
            self._skip = max(0, length + 1 - have)
            self._start = min(len(self._buffer), start + length + 1)
            return True
        end = start + length
        if len(self._buffer) <= end:
            return False
        if self._buffer[end] != _LINE_END:
            raise RemoteProtocolError("a journal field's value does not end where its length says")
        self._start = end + 1
        self._keep(name, bytes(self._buffer[start:end]))
        return True

    def _keep(self, name: bytes, value: bytes) -> None:
        if name in WANTED:
            self._entry.setdefault(name, value)
