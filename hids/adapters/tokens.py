"""Tokens with which machines may join, in the registry's file. Its transactions are the registry's."""

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence

import msgspec
import sqlite_utils

from hids.adapters.clock import date
from hids.adapters.newcomer import Newcomer, check_name, groups_text, printable
from hids.errors import ConfigError, JoinRefused

_TOKEN_BYTES = 32


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is good for, besides its time and its uses."""

    groups: tuple[str, ...] = ()
    """Those that join with it are put there."""
    networks: tuple[str, ...] = ()
    """Addresses and networks from which it may be used; none: from everywhere."""
    name: str = ""
    """The one name with which it may be used; empty: any."""
    approve: bool = False
    """Whoever uses it waits until a person approves."""


class Tokens:
    """The table `tokens`."""

    def __init__(self, db: sqlite_utils.Database) -> None:
        self._db = db

    def create(self, now_ms: int, valid_s: int, uses: int, note: str, terms: Terms) -> str:
        """Make a token. It is returned once and not stored.

        Raises:
            ConfigError: `valid_s` or `uses` below 1, or terms that make no sense.
        """
        if valid_s < 1 or uses < 1:
            raise ConfigError(f"a token needs at least 1 s and 1 use, got {valid_s} s and {uses} uses")
        if terms.name:
            check_name(terms.name, ConfigError)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        while token.startswith("-"):  # it would look like an option on the command line
            token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = {
            "hash": _hash(token),
            "created_ms": now_ms,
            "expires_ms": now_ms + valid_s * 1000,
            "uses_left": uses,
            "note": printable(note),
            "groups": groups_text(terms.groups),
            "networks": ",".join(map(str, _networks(terms.networks))),
            "name": terms.name,
            "approve": terms.approve,
        }
        self._db.table("tokens").insert(row)
        return token

    def redeem(self, token: str, newcomer: Newcomer | None, now_ms: int) -> Terms:
        """Spend one use of a token; returns what it is good for.

        Raises:
            JoinRefused: unknown, used up, expired, or not for this newcomer.
        """
        # One conditional write, which also takes SQLite's write lock: two agents cannot share the last use.
        key = _hash(token)
        spent = self._db.conn.execute(
            "UPDATE tokens SET uses_left = uses_left - 1 WHERE hash = ? AND uses_left > 0 AND expires_ms > ?",
            (key, now_ms),
        )
        if spent.rowcount == 1:
            return self._terms(key, newcomer)
        row = self._db.conn.execute("SELECT uses_left, expires_ms FROM tokens WHERE hash = ?", (key,)).fetchone()
        if row is None:
            why = "this manager does not know the token; was it copied whole, and is this the right manager?"
        elif row[0] <= 0:
            why = "the token has been used"
        else:
            why = f"the token expired on {date(row[1])}"
        raise JoinRefused(f"{why}; make a new one with `hidsctl agent token`")

    def _terms(self, key: str, newcomer: Newcomer | None) -> Terms:
        groups, networks, name, approve = self._db.conn.execute(
            "SELECT groups, networks, name, approve FROM tokens WHERE hash = ?", (key,)
        ).fetchone()
        if newcomer is not None and name and name.lower() != newcomer.name.lower():
            raise JoinRefused(f"this token is for the name {name} only; join with --name {name}")
        if newcomer is not None and networks and not _is_inside(newcomer.address, networks.split(",")):
            raise JoinRefused(f"this token may not be used from {newcomer.address}; it is for {networks}")
        return Terms(groups=tuple(groups.split(",")) if groups else (), approve=bool(approve))


def _networks(texts: Sequence[str]) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"expected addresses or networks such as 10.0.0.0/8: {error}") from error


def _is_inside(address: str, networks: Sequence[str]) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network) for network in networks)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
