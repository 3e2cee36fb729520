"""The lane's outbox and those who read it: alert files, index, senders, responder.

main --Outboxed--> outputs, index, ... --Cursors--> main -> lane
"""

from typing import Literal

import msgspec

from hids.messages.supervision import Pulse

News = Literal["first", "level", "agent", ""]


class Incident(msgspec.Struct, frozen=True):
    """What an alert says of the incident that it is part of: `hids.incident`. lane -> outputs, index."""

    id: str
    """Id of its first alert."""
    key: dict[str, str] = {}
    """What it is about, by the names of the fields; empty when the rule counts all events together."""
    news: News = ""
    """What is new: it begins, its level rises, an agent joins; empty when it just goes on."""


class Outboxed(msgspec.Struct, frozen=True, tag="outboxed"):
    """main -> outputs, index: alerts below this number are in the outbox."""

    next: int


class Cursors(msgspec.Struct, frozen=True, tag="cursors"):
    """outputs, index -> main -> lane: each output's durable position; rows that all have passed may go."""

    positions: dict[str, int]


ToOutput = Outboxed

FromOutput = Cursors | Pulse
