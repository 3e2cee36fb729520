"""The dialects of the rule language that can be read."""

import msgspec

from hids.errors import ConfigError
from hids.messages.terms import Dialect as Dialect  # noqa: PLC0414 - named here for the rest of the core

_KNOWN: dict[str, Dialect] = {"ossec": "ossec", "wazuh": "wazuh", "hids": "hids"}


def dialect(name: str) -> Dialect:
    """Check a dialect's name. Raises ConfigError."""
    if name not in _KNOWN:
        raise ConfigError(f"dialect must be one of {', '.join(_KNOWN)}, got {name!r}")
    return _KNOWN[name]


class Refused(msgspec.Struct, frozen=True, order=True):
    """A rule or decoder that is left out, as Wazuh leaves it out with a warning; an error under strict loading."""

    kind: str
    """"rule" or "decoder"."""
    id: str
    """Number of a rule, name of a decoder."""
    file: str
    line: int
    reason: str
