r"""Syslog from the network: a stream cut into messages, and a message written as the line that a file would have.

    RFC 6587 3.4.1, RFC 5425   17 <34>Nov 24 03:2...   octet counting
    RFC 6587 3.4.2             <34>Nov 24 ...\n        a newline (or NUL) ends a message

    RFC 3164   <34>Nov 24 03:21:43 web1 su: text                             -> Nov 24 03:21:43 web1 su: text
    RFC 5424   <34>1 2026-11-24T03:21:43Z web1 su 77 ID47 [x@9 a="b"] text   -> 2026-11-24T03:21:43Z web1 su[77]: [x@9 a="b"] text

The priority goes, as in OSSEC and Wazuh, whose rules expect lines as they are in files. The text keeps its bytes.
"""

import datetime as dt
import re

from hids.errors import RemoteProtocolError
from hids.messages.lines import MAX_LINE_BYTES

MAX_MESSAGE = 2 * MAX_LINE_BYTES
"""Bytes of one message with octet counting; what is longer is no log. RFC 5425 4.3.1 asks for 8,192 at least."""

_COUNTED = re.compile(rb"([1-9][0-9]{0,8}) <")
_PERHAPS_COUNTED = re.compile(rb"[1-9][0-9]{0,8} ?")
_END = re.compile(rb"[\n\0]")
_PRIORITY = re.compile(rb"<[0-9]{1,3}>")
_VERSION_1 = re.compile(
    rb"1 (-|[0-9T:.,+\-Zz]{1,40}) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    rb'(-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+)(?: (?:\xef\xbb\xbf)?|$)',
    re.DOTALL,
)


class SyslogStream:
    """Cuts a connection's bytes into messages, however they arrive. Holds at most `MAX_MESSAGE` bytes."""

    def __init__(self) -> None:
        self._buffer = b""
        self._inside = False
        """The message was too long and its beginning is given: what comes up to its end is left out."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the messages that it completes; those over `MAX_LINE_BYTES` are cut.

        Raises:
            RemoteProtocolError: a count above `MAX_MESSAGE`. The stream is of no use afterwards.
        """
        buffer = self._buffer + data
        messages: list[bytes] = []
        at = 0
        while at < len(buffer):
            counted = None if self._inside else _COUNTED.match(buffer, at, at + 12)
            if counted is not None:
                length, start = int(counted[1]), counted.end() - 1
                if length > MAX_MESSAGE:
                    raise RemoteProtocolError(f"expected a message of at most {MAX_MESSAGE} bytes, got {length}")
                if start + length > len(buffer):
                    break
                messages.append(buffer[start : start + length].rstrip(b"\r\n\0"))
                at = start + length
                continue
            if _PERHAPS_COUNTED.fullmatch(buffer, at) and not self._inside:
                break  # too little to tell
            end = _END.search(buffer, at)
            if end is None:
                at = self._cut_long(buffer, at, messages)
                break
            if not self._inside:
                messages.append(buffer[at : end.start()].rstrip(b"\r"))
            self._inside = False
            at = end.end()
        self._buffer = buffer[at:]
        return [message[:MAX_LINE_BYTES] for message in messages if message]

    def end(self) -> list[bytes]:
        """The connection has ended: a last message needs no newline. A counted one that is not whole is no message."""
        last, self._buffer = self._buffer, b""
        return [last[:MAX_LINE_BYTES]] if last and not self._inside and not _COUNTED.match(last) else []

    def _cut_long(self, buffer: bytes, at: int, messages: list[bytes]) -> int:
        if self._inside:
            return len(buffer)
        if len(buffer) - at < MAX_LINE_BYTES:
            return at
        messages.append(buffer[at : at + MAX_LINE_BYTES])
        self._inside = True
        return len(buffer)


def to_text(message: bytes, now_ms: int) -> bytes:
    """Write a message as the line that a file would have; `now_ms` where it has no time of its own."""
    found = _PRIORITY.match(message)
    text = message if found is None else message[found.end() :]
    form = _VERSION_1.match(text) if found is not None else None
    if form is None:
        return text
    time, host, program, process, message_id, data = form.groups()
    if time == b"-":
        time = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).isoformat(timespec="seconds").encode()
    head = b"%s %s %s%s:" % (
        time,
        b"localhost" if host == b"-" else host,
        (message_id if message_id != b"-" else b"unknown") if program == b"-" else program,
        b"" if process == b"-" else b"[%s]" % process,
    )
    rest = text[form.end() :]
    return b" ".join(part for part in (head, b"" if data == b"-" else data, rest) if part)
