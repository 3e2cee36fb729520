"""client.keys: who the old agents are, and what their secrets become.

    ID NAME IP KEY          one agent a line; a second field that starts with # or ! marks a removed one

Ids are compared as text: 1, 01 and 001 are three agents.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from hids.errors import RemoteProtocolError

MAX_FIELD = 127
"""Bytes that upstream's readers keep of a field."""
MAX_FILE_BYTES = 16 * 1024 * 1024
AUTHD_FIRST_ID = 1024
"""OSSEC's ossec-authd hands out ids from here on; its keys hold at most 32 unknown bits."""

_ID = re.compile(r"[0-9]{1,8}")
_NAME = re.compile(r"[A-Za-z0-9._-]{2,128}")
_KEY = re.compile(r"[\x21-\x7e]{16,127}")
_REMOVED = ("#", "!")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientKey(msgspec.Struct, frozen=True):
    """One line of client.keys."""

    id: str
    name: str
    ip: str
    """`any`, an address, or address/prefix-length; a leading ! inverts."""
    key: str

    def __str__(self) -> str:
        return f"{self.id} {self.name} {self.ip} {self.key}"

    def admits(self, address: str) -> bool:
        """Whether the agent may speak from this address."""
        inverted, text = self.ip.startswith("!"), self.ip.removeprefix("!")
        if text == "any":
            return not inverted
        try:
            inside = ipaddress.ip_address(address) in ipaddress.ip_network(text, strict=False)
        except (ValueError, TypeError):
            return False
        return inside != inverted

    @property
    def is_single_address(self) -> bool:
        """The agent does not name itself: it is found by where its datagrams come from."""
        if self.ip.startswith("!") or self.ip == "any":
            return False
        try:
            return ipaddress.ip_network(self.ip, strict=False).num_addresses == 1
        except ValueError:
            return False

    @property
    def address(self) -> str:
        """The single address, without a prefix length."""
        return self.ip.partition("/")[0]

    @property
    def is_weak(self) -> bool:
        """The key may have been made by OSSEC's authd, or by hand: 32 unknown bits or fewer to guess."""
        return int(self.id) >= AUTHD_FIRST_ID or not _HEX_KEY.fullmatch(self.key)


class BadLine(msgspec.Struct, frozen=True):
    """A line of client.keys that cannot be used."""

    line: int
    reason: str


class SkippedLine(msgspec.Struct, frozen=True):
    """A line of client.keys that is no living agent's."""

    line: int
    id: str
    name: str
    """Without its mark; empty where OSSEC has written over it."""
    reason: str


class KeyFile(NamedTuple):
    """What stands in a client.keys file."""

    keys: tuple[ClientKey, ...]
    """The living agents."""
    bad: tuple[BadLine, ...]
    skipped: tuple[SkippedLine, ...]


def read_keys(text: str) -> KeyFile:
    """Read a client.keys file. Of two lines with one id, name or key the first counts."""
    keys: list[ClientKey] = []
    bad: list[BadLine] = []
    skipped: list[SkippedLine] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in _lines(text):
        fields = line.split(" ", 3)
        if len(fields) > 1 and fields[1][:1] in _REMOVED:
            skipped.append(SkippedLine(number, fields[0], _name_before(fields[1]), "removed on the old manager"))
            continue
        try:
            key = parse_key(line)
        except RemoteProtocolError as error:
            bad.append(BadLine(number, str(error)))
            continue
        marks = (("id", key.id), ("name", key.name.lower()), ("key", key.key))
        earlier = [(what, seen[what, value]) for what, value in marks if (what, value) in seen]
        if earlier:
            what, where = earlier[0]
            bad.append(BadLine(number, f"agent {key.id}: has the {what} of line {where}; every agent needs its own"))
            continue
        seen.update(dict.fromkeys(marks, number))
        keys.append(key)
    return KeyFile(tuple(keys), tuple(bad), tuple(skipped))


def _name_before(field: str) -> str:
    """Of an agent that was removed: Wazuh puts a mark in front, OSSEC writes marks over it."""
    name = field[1:]
    return name if _NAME.fullmatch(name) else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")  # noqa: PLW2901 - a file that came by way of Windows
        if line and line[0] not in "# ":
            yield number, line


def parse_key(line: str) -> ClientKey:
    """Read one line, without its end.

    Raises:
        RemoteProtocolError: which field is wrong, and how. The key itself is never shown.
    """
    fields = line.split(" ", 3)
    if len(fields) != 4:  # noqa: PLR2004 - ID NAME IP KEY
        raise RemoteProtocolError(f"expected ID NAME IP KEY with one space between, got {len(fields)} fields")
    agent_id, name, ip, key = fields
    if not _ID.fullmatch(agent_id):
        raise RemoteProtocolError(f"expected an id of 1 to 8 digits, got {agent_id[:20]!r}")
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise RemoteProtocolError(
            f"agent {agent_id}: expected a name of 2 to 128 of A-Z a-z 0-9 . _ -, got {name[:40]!r}"
        )
    if not _KEY.fullmatch(key):
        raise RemoteProtocolError(
            f"agent {agent_id}: expected a key of 16 to {MAX_FIELD} printable characters, got one of {len(key)}"
        )
    return ClientKey(agent_id, name, canonical_ip(ip), key)


def canonical_ip(text: str) -> str:
    """An IP field as we keep it: a dotted netmask becomes a prefix length.

    Raises:
        RemoteProtocolError: neither `any` nor an address or network.
    """
    inverted, rest = ("!", text[1:]) if text.startswith("!") else ("", text)
    if rest == "any":
        return text
    try:
        network = ipaddress.ip_network(rest, strict=False)
    except ValueError as error:
        raise RemoteProtocolError(f"expected any, an address or address/prefix, got {text[:60]!r}") from error
    address = rest.partition("/")[0]
    return inverted + (address if "/" not in rest else f"{address}/{network.prefixlen}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def encryption_key(key: ClientKey) -> bytes:
    """The 47 ASCII bytes that the ciphers are keyed with."""
    return (_md5(key.key) + _md5(_md5(key.name) + _md5(key.id))[:15]).encode()


def known_key_hash(key: ClientKey) -> str:
    """What an agent that enrols again shows of the key it has: 40 hex digits."""
    return hashlib.sha1(f"{key.id}{key.name}{key.key}".encode(), usedforsecurity=False).hexdigest()


def export(key: ClientKey) -> str:
    """The text that `manage_agents -e` prints."""
    return base64.b64encode(str(key).encode()).decode()


def import_exported(text: str) -> ClientKey:
    """Read what `export` made; characters outside the alphabet are skipped.

    Raises:
        RemoteProtocolError: it is no exported key.
    """
    letters = re.sub(r"[^A-Za-z0-9+/]", "", text)
    try:
        line = base64.b64decode(letters + "=" * (-len(letters) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise RemoteProtocolError("expected the one line of base64 that manage_agents -e prints") from error
    return parse_key(line)
