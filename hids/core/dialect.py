"""The dialects of the rule language that can be read."""

from typing import Literal, get_args

from hids.errors import ConfigError

Dialect = Literal["ossec", "wazuh", "hids"]
"""`ossec`: OSSEC 4's files, exactly. `wazuh`: Wazuh 4's. `hids`: ours; strict, PCRE2 only."""


def dialect(name: str) -> Dialect:
    """Check a dialect's name. Raises ConfigError."""
    for known in get_args(Dialect):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(f"dialect must be one of {', '.join(get_args(Dialect))}, got {name!r}")
