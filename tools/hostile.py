"""Lines that are meant to cost: each kind attacks another part of the engine."""

import json
import random
import re
from collections.abc import Callable, Sequence

from hids.core.pattern.pattern import Pattern
from hids.core.rules.rule import Ruleset
from hids.messages.lines import LogLine

MIN_LITERAL = 5
_HEAD = b"Nov 24 03:21:42 web1 "

Make = Callable[[int], bytes]


def literals(ruleset: Ruleset) -> list[bytes]:
    """Pieces of text that rules look for, at least `MIN_LITERAL` bytes long."""
    patterns = (getattr(condition, "pattern", None) for rule in ruleset.rules for condition in rule.conditions)
    texts = (pattern.key[1] for pattern in patterns if isinstance(pattern, Pattern))
    pieces = {piece for text in texts for piece in re.split(rb"[^A-Za-z :=/_.-]+", text) if len(piece) >= MIN_LITERAL}
    return sorted(pieces)


def kinds(ruleset: Ruleset, usual: Sequence[LogLine]) -> dict[str, Make]:
    """Name -> the text of the n-th line. The same texts each time; `usual` gives words."""
    words = sorted({word for line in usual for word in line.text.split()})
    pieces = literals(ruleset) or [b"text"]
    draw = random.Random(1)  # noqa: S311 - the same lines in every run

    def some(what: Sequence[bytes], count: int) -> bytes:
        return b" ".join(draw.choices(what, k=count))

    return {
        "words in any order": lambda _n: some(words, 12),
        "8 texts of rules, no program": lambda _n: some(pieces, 8),
        "8 texts of rules, sshd": lambda _n: _HEAD + b"sshd[1]: " + some(pieces, 8),
        "a new program each": lambda n: _HEAD + b"p%d: " % n + some(pieces, 8),
        "200 random bytes": lambda _n: draw.randbytes(200),
        "digits": lambda n: _HEAD + b"sshd[%d]: " % n + b"%d " % draw.getrandbits(60) * 6,
        "a failed login from a new address each": lambda n: (
            _HEAD
            + b"sshd[%d]: Failed password for invalid user u%d from 10.%d.%d.%d port 22 ssh2"
            % (n, n, n >> 16 & 255, n >> 8 & 255, n & 255)
        ),
        "nested JSON": lambda n: json.dumps({str(k): {"a" * k: [n, k]} for k in range(12)}).encode(),
        "letters beyond ASCII": lambda _n: _HEAD + b"sshd[1]: " + "é".encode() * 20 + b" " + some(words, 6),
    }
