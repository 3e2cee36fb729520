"""Whom a response is about: addresses and users, taken from alerts and so from what attackers write."""

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
"""Names that shadow's useradd takes, capitals and dots included; none begins like an option."""


def address_of(text: str) -> Address | None:
    """Read an address; None when it is none. An IPv4 address in IPv6's clothes is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return None
        return address.ipv4_mapped or address
    return address


def user_of(text: str) -> str:
    """A user name that may be handed to a program; empty when it may not."""
    return text if USER.fullmatch(text) else ""
