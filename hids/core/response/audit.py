"""Audit: one line for each thing that an agent did as a response. Kind `response`: no log can claim to be one.

    done add firewall-drop - 192.0.2.7 1795488829.4711 201250 id=001-1-5:drop:001 until=1795489429000 sig=<base64> why

Rulesets of OSSEC and Wazuh see the line that their own scripts would have written (`in_upstream_words`).
"""

import base64
import re
from datetime import UTC, datetime

from hids.messages.response import ResponseOrder

_SCRIPTED = ("firewall-drop", "host-deny", "route-null", "disable-account")
"""Actions that upstream has as scripts of this name and `.sh`."""

_LINE = re.compile(rb"(done|undone|cut-off) (add|delete) (\S+) (\S+) (\S+) (\S+) (\S+) ")


def audit_line(word: str, order: ResponseOrder, *, what: str, signature: bytes, text: str = "") -> str:
    """The line.

    Args:
        word: done, undone, failed, refused, cut-off (undone because the manager was not heard) or forged.
        order: what was ordered.
        what: "add" or "delete".
        signature: the manager's, over the order.
        text: more words; may hold what an attacker wrote, so it comes last.
    """
    return " ".join(
        (
            *(word, what, _flat(order.action), _flat(order.user), _flat(order.address)),
            *(_flat(order.reference), _flat(order.rule)),
            *(f"id={_flat(order.id)}", f"until={order.until_ms}", f"sig={base64.b64encode(signature).decode()}"),
            " ".join((text or order.why).split()),
        )
    ).rstrip()


def in_upstream_words(line: bytes, at_ms: int) -> bytes | None:
    """The line of active-responses.log that OSSEC's script would have written; None for what it never says."""
    match = _LINE.match(line)
    if match is None:
        return None
    _, what, action, user, address, reference, rule = match.groups()
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    script = action + b".sh" if action.decode(errors="replace") in _SCRIPTED else action
    # English names whatever the locale: strftime would follow it.
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    moment = f"{day} {month} {at.day:2d} {at:%H:%M:%S} UTC {at.year}".encode()
    by_hand = reference == b"-"
    tail = b"(from_the_server) (no_rule_id)" if by_hand else b"%b %b" % (reference, rule)
    return b"%b /var/ossec/active-response/bin/%b %b %b %b %b" % (moment, script, what, user, address, tail)


def _flat(word: str) -> str:
    return re.sub(r"\s", "_", word) or "-"
