"""An alert as JSON on one line, in ASCII where a terminal or a reader could take a character for something else."""

import re

import msgspec

from hids.core.alert.text import UNSAFE
from hids.core.alert.view import View

_encode = msgspec.json.Encoder().encode


def as_it_is(line: bytes) -> str:
    """The whole alert."""
    return _safe(line.decode(errors="replace"))


def jsonline(alert: View) -> str:
    """What a view has of an alert."""
    return _safe(_encode(alert).decode())


def _safe(text: str) -> str:
    """Such characters stand within strings only, where an escape means the same."""
    return text if text.isprintable() else UNSAFE.sub(_escape, text.rstrip("\n"))


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
