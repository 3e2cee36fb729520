"""A finding in words: what is wrong on a host, the same text for as long as it is the same thing."""

import hashlib
import re

import msgspec

MAX_TEXT = 4_096
"""Characters. A path may be long; the text is cut there."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Finding(msgspec.Struct, frozen=True):
    """One thing that should not be so."""

    check: str
    """Which check found it: while that one does not come to its end, nothing of it is taken as resolved."""
    text: str

    @property
    def key(self) -> str:
        """Names it in the agent's spool."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def finding(check: str, text: str) -> Finding:
    """Make one: on one line, of bounded length, whatever an intruder called his files."""
    flat = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return Finding(check, flat if len(flat) <= MAX_TEXT else flat[: MAX_TEXT - 3] + "...")
