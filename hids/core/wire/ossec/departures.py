"""What our agent's lines become for an OSSEC manager."""

import msgspec

from hids.core.wire.ossec.events import LOG, ROOTCHECK, SYSCHECK, encode_event
from hids.core.wire.ossec.message import MAX_OSSEC_PAYLOAD
from hids.core.wire.ossec.syscheck import encode_sum
from hids.messages import FileFact, LogLine

MAX_LOCATION = 255
"""Bytes of a location; the manager's own limit for the rest of the line is what counts more."""

_END = b"Ending rootcheck scan."
"""What stands behind it is for our own manager: which findings are there still."""

_fact_decoder = msgspec.msgpack.Decoder(FileFact)


def departure(line: LogLine) -> bytes:
    """The payload for one line. A NUL ends a text in OSSEC, so it becomes a blank; what is too long is cut."""
    match line.kind:
        case "syscheck":
            payload = encode_event(SYSCHECK, "syscheck", encode_sum(_fact_decoder.decode(line.text)))
        case "rootcheck":
            payload = encode_event(ROOTCHECK, "rootcheck", _END if line.text.startswith(_END) else line.text)
        case _:
            payload = encode_event(LOG, line.location[-MAX_LOCATION:], line.text)
    return payload.replace(b"\0", b" ")[:MAX_OSSEC_PAYLOAD]


def is_change(line: LogLine) -> bool:
    """Whether syscheck tells something that was not there at its first tour."""
    return line.kind == "syscheck" and _fact_decoder.decode(line.text).seen != "baseline"
