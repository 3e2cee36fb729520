"""What our agent's lines become for an OSSEC manager."""

import msgspec

from hids.core.response.audit import in_upstream_words
from hids.core.wire.ossec.events import LOG, ROOTCHECK, SYSCHECK, encode_event
from hids.core.wire.ossec.message import MAX_OSSEC_PAYLOAD
from hids.core.wire.ossec.syscheck import encode_sum
from hids.messages import FileFact, LogLine

MAX_LOCATION = 255
"""Bytes of a location; the manager's own limit for the rest of the line is what counts more."""

RESPONSES_LOG = "/var/ossec/logs/active-responses.log"
"""Where OSSEC's own agents write what their responses did."""

_fact_decoder = msgspec.msgpack.Decoder(FileFact)


def departure(line: LogLine) -> bytes:
    """The payload for one line. A NUL ends a text in OSSEC, so it becomes a blank; what is too long is cut."""
    match line.kind:
        case "syscheck":
            payload = encode_event(SYSCHECK, "syscheck", encode_sum(_fact_decoder.decode(line.text)))
        case "rootcheck":
            payload = encode_event(ROOTCHECK, "rootcheck", line.text)
        case "response":
            text = in_upstream_words(line.text, line.at_ms) or line.text
            payload = encode_event(LOG, RESPONSES_LOG, text)
        case _:
            payload = encode_event(LOG, line.location[-MAX_LOCATION:], line.text)
    return payload.replace(b"\0", b" ")[:MAX_OSSEC_PAYLOAD]


def is_change(line: LogLine) -> bool:
    """Whether syscheck tells something that was not there at its first tour."""
    return line.kind == "syscheck" and _fact_decoder.decode(line.text).seen != "baseline"
