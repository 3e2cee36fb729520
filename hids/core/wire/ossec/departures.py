"""What our agent's lines become for an OSSEC manager."""

from collections.abc import Iterator

from hids.core.response.audit import in_upstream_words
from hids.core.wire.facts import facts_of
from hids.core.wire.ossec.events import LOG, ROOTCHECK, SYSCHECK, encode_event
from hids.core.wire.ossec.message import MAX_OSSEC_PAYLOAD
from hids.core.wire.ossec.syscheck import encode_sum
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact

MAX_LOCATION = 255
"""Bytes of a location; the manager's own limit for the rest of the line is what counts more."""

_END = b"Ending rootcheck scan."
"""What stands behind it is for our own manager: which findings are there still."""

RESPONSES_LOG = "/var/ossec/logs/active-responses.log"
"""Where OSSEC's own agents write what their responses did."""


def departures(line: LogLine) -> list[bytes]:
    """The payloads for one line. A NUL ends a text in OSSEC, so it becomes a blank; what is too long is cut."""
    match line.kind:
        case "syscheck":
            payloads = [encode_event(SYSCHECK, "syscheck", encode_sum(fact)) for fact in _facts(line)]
        case "rootcheck":
            payloads = [encode_event(ROOTCHECK, "rootcheck", _END if line.text.startswith(_END) else line.text)]
        case "response":
            text = in_upstream_words(line.text, line.at_ms) or line.text
            payloads = [encode_event(LOG, RESPONSES_LOG, text)]
        case _:
            payloads = [encode_event(LOG, line.location[-MAX_LOCATION:], line.text)]
    return [payload.replace(b"\0", b" ")[:MAX_OSSEC_PAYLOAD] for payload in payloads]


def is_change(line: LogLine) -> bool:
    """Whether syscheck tells something that was not there at its first tour."""
    return line.kind == "syscheck" and any(fact.seen != "baseline" for fact in facts_of(line.text))


def _facts(line: LogLine) -> Iterator[FileFact]:
    """What moved is gone there and new here: OSSEC has no word for it."""
    for fact in facts_of(line.text):
        if fact.moved_from:
            yield FileFact(path=fact.moved_from, seen=fact.seen, gone=True)
        yield fact
