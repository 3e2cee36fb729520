"""The dialects of the rule language that can be read."""

from typing import Literal, get_args

from hids.errors import ConfigError

Dialect = Literal["ossec", "hids"]
"""`ossec`: OSSEC 4's files, exactly. `hids`: ours; strict, PCRE2 only."""


def dialect(name: str) -> Dialect:
    """Check a dialect's name. Raises ConfigError."""
    if name == "ossec":
        return "ossec"
    if name == "hids":
        return "hids"
    if name == "wazuh":
        raise ConfigError('dialect "wazuh" is not available yet; use "ossec" or "hids"')
    raise ConfigError(f"dialect must be one of {', '.join(get_args(Dialect))}, got {name!r}")
