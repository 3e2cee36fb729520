"""Canary: a signed line that an agent writes into its own path, and that must come back as evaluated.

    hids-canary: <agent id> <milliseconds> <hex of the signature>

The signature is the agent's, over what stands before it, so nobody can write such a line for him into a log.
Hex, so that it holds no word that a rule could take for one.
"""

import re
from typing import NamedTuple

PREFIX = b"hids-canary: "

MAX_BYTES = 512

_FORM = re.compile(rb"(hids-canary: ([0-9]{3,12}) ([0-9]{1,16})) ([0-9a-f]{16,300})")


class Canary(NamedTuple):
    """One such line."""

    agent_id: str
    at_ms: int
    """When it was written, by the agent's clock; grows from one to the next while the agent runs."""
    signed: bytes
    signature: bytes


def unsigned(agent_id: str, at_ms: int) -> bytes:
    """What is signed."""
    return PREFIX + f"{agent_id} {at_ms}".encode()


def signed(text: bytes, signature: bytes) -> bytes:
    """The whole line."""
    return text + b" " + signature.hex().encode()


def parse(line: bytes) -> Canary | None:
    """A line that looks like one; whether it is genuine the signature says."""
    found = _FORM.fullmatch(line) if len(line) <= MAX_BYTES else None
    if found is None or len(found[4]) % 2:
        return None
    return Canary(found[2].decode(), int(found[3]), found[1], bytes.fromhex(found[4].decode()))
