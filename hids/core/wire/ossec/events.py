"""Events of old agents: one letter for the queue, the location, the message.

    1:/var/log/auth.log:text      9:rootcheck:text      8:syscheck:...

Wazuh escapes : and | in locations with |, OSSEC does not; a Windows path keeps its drive in both.
"""

import re

import msgspec

from hids.errors import RemoteProtocolError

MAX_LOCATION = 4_096

LOG, SYSCHECK, ROOTCHECK, EVENT_CHANNEL, SCA, DBSYNC, HOSTINFO = "1", "8", "9", "f", "p", "5", "3"
LOGS = frozenset("123ab")
"""Logs, syslog, host information, databases' logs."""
QUIET = frozenset("5deu")
"""Wazuh's inventory, benchmarks and upgrades: dropped and counted, before any parsing; of `DBSYNC` what is about files
is heard (dbsync.py)."""

_LOCATION = re.compile(rb"((?:[A-Za-z]:\\)?(?:[^:|]++|\|[|:]?+)*+):", re.DOTALL)
"""Possessive throughout, so that no text takes long."""
_UNESCAPED = re.compile(rb"([^:]++):", re.DOTALL)
"""OSSEC's, where a pipe before the colon means nothing."""
_HEARTBEATS = ("keepalive", "ossec-keepalive")


class OldEvent(msgspec.Struct, frozen=True):
    """One event as an agent sent it."""

    queue: str
    location: str
    message: bytes

    @property
    def is_heartbeat(self) -> bool:
        """OSSEC's log collector says every two minutes that it lives."""
        return self.location.startswith(_HEARTBEATS)


def read_event(payload: bytes) -> OldEvent:
    """Take an event apart.

    Raises:
        RemoteProtocolError: no queue, or no location.
    """
    end = 2 + MAX_LOCATION
    location = _LOCATION.match(payload, 2, end) or _UNESCAPED.match(payload, 2, end)
    if location is None or payload[1:2] != b":" or not payload[:1].isalnum():
        raise RemoteProtocolError(f"expected QUEUE:LOCATION:MESSAGE, got {payload[:40]!r}")
    name = location[1].replace(b"|:", b":").replace(b"||", b"|")
    return OldEvent(payload[:1].decode(), name.decode("utf-8", "backslashreplace"), payload[location.end() :])


def encode_event(queue: str, location: str, message: bytes) -> bytes:
    """An event for an OSSEC manager: it knows no escape, so the location may have no colon."""
    return f"{queue}:{location.replace(':', '_')}:".encode("utf-8", "surrogateescape") + message
