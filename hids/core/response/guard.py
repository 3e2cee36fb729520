"""Guard rails: whom no response is ever aimed at, whatever a rule says. Used by the manager and again by each agent.

An attacker who forges a source address must not have us cut off our own gateway, resolver, manager or administrator.
"""

from collections.abc import Iterable, Mapping

import msgspec

from hids.core.response.target import Address, Network, address_of

_ALWAYS = (
    ("is_unspecified", "no host has this address"),
    ("is_loopback", "it is this machine itself (loopback)"),
    ("is_multicast", "it is a multicast address"),
    ("is_link_local", "it is a link-local address: a router or a neighbour, nobody from afar"),
)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that must stay reachable, as text; what is no address is passed over."""

    own: tuple[str, ...] = ()
    manager: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    """From where people are logged in."""
    agents: tuple[tuple[str, str], ...] = ()
    """(address, name of the agent)."""


class Guard:
    """Says whom not to touch, and why."""

    def __init__(
        self, surroundings: Surroundings, allow: Iterable[Network] = (), allow_users: Iterable[str] = ()
    ) -> None:
        self._allow = tuple(allow)
        self._users = frozenset(allow_users)
        reasons: dict[Address, str] = {}
        for texts, reason in (
            (surroundings.sessions, "somebody is logged in from there"),
            (surroundings.resolvers, "it is a DNS resolver of this machine"),
            (surroundings.gateways, "it is a gateway of this machine"),
            (surroundings.manager, "it is the manager"),
            (surroundings.own, "it is an address of this machine"),
        ):
            _note(reasons, dict.fromkeys(texts, reason))
        _note(reasons, {address: f"it is the agent {name}" for address, name in surroundings.agents})
        self._reasons = reasons

    def refusal_of_address(self, text: str) -> str:
        """Why nothing is done against this address; empty when something may be."""
        address = address_of(text)
        if address is None:
            return f"{text[:60]!r} is no address"
        if address.version == 4 and int(address) == 2**32 - 1:  # noqa: PLR2004 - 255.255.255.255
            return "it is the broadcast address"
        for property_, reason in _ALWAYS:
            if getattr(address, property_):
                return reason
        for network in self._allow:
            if address in network:
                return f"it is in the allowed range {network}"
        return self._reasons.get(address, "")

    def refusal_of_user(self, user: str) -> str:
        """Why nothing is done against this user; empty when something may be."""
        return "it is an allowed user" if user in self._users else ""


def _note(reasons: dict[Address, str], texts: Mapping[str, str]) -> None:
    for text, reason in texts.items():
        address = address_of(text)
        if address is not None:
            reasons[address] = reason
