"""Main and the process that speaks with OSSEC's and Wazuh's agents.

main --LegacyKeys, LegacyProgress, LegacyOrder--> legacy --LegacyBatch, LegacySeen, ...--> main
"""

import msgspec

from hids.messages.lane import Progress
from hids.messages.lines import Batch
from hids.messages.supervision import Pulse
from hids.messages.terms import Agent, AgentId


class LegacyAgent(msgspec.Struct, frozen=True):
    """An agent of OSSEC or Wazuh, as its line in client.keys has it."""

    agent: Agent
    wire_id: str
    """The id that it calls itself: text, so 1 and 001 differ; mostly `agent.id`."""
    ip: str
    """From where it may speak: `any`, an address, or address/prefix-length; a leading ! inverts."""
    key: str
    generation: int = 0
    """Raised when a person says that its counters begin anew."""
    group: str = ""
    """Whose shared files it gets; empty: everybody's."""


class LegacyKeys(msgspec.Struct, frozen=True, tag="legacy_keys"):
    """main -> legacy: these agents and no others."""

    agents: tuple[LegacyAgent, ...]
    connected: tuple[AgentId, ...] = ()
    """Those that a process before this one has heard: they may say for long that nothing has changed."""


class LegacyProgress(msgspec.Struct, frozen=True, tag="legacy_progress"):
    """main -> legacy: what is committed of its sources."""

    progress: dict[str, Progress]


class LegacyOrder(msgspec.Struct, frozen=True, tag="legacy_order"):
    """main -> legacy: what an agent is to do."""

    agent: AgentId
    command: str
    """"restart", "scan" (syscheck and rootcheck), "reconnect" (Wazuh); else an active response as ar.conf has it: the name
    directly followed by the timeout in seconds, e.g. firewall-drop600."""
    user: str = ""
    ip: str = ""
    alert: str = ""
    """`TIME.OFFSET` of the alert; empty when a person ordered it."""
    rule: str = ""
    location: str = ""
    file: str = ""
    extra: tuple[str, ...] = ()
    alert_json: bytes = b"{}"
    """The alert itself, which Wazuh's programs are given whole."""
    number: int = 0
    """Comes back in `LegacyDone`."""


class LegacyDone(msgspec.Struct, frozen=True, tag="legacy_done"):
    """legacy -> main: an order was sent, or why not. Whether it was carried out no old agent says."""

    number: int
    problem: str = ""


class LegacyReady(msgspec.Struct, frozen=True, tag="legacy_ready"):
    """legacy -> main at its start: tell me what is committed, and the keys."""


class LegacyBatch(msgspec.Struct, frozen=True, tag="legacy_batch"):
    """legacy -> main: lines of an old agent, durable in the journal."""

    agent: Agent
    batch: Batch
    received_ms: int


class LegacySeen(msgspec.Struct, frozen=True, tag="legacy_seen"):
    """legacy -> main: how an agent is, at each change and now and then."""

    agent: Agent
    connected: bool
    at_ms: int
    """When it was heard last."""
    changed: bool = True
    """It is not merely still there."""
    os: str = ""
    software: str = ""
    method: str = ""
    """Cipher and transport."""
    lines: int = 0
    """Since the process started."""


class LegacyNotice(msgspec.Struct, frozen=True, tag="legacy_notice"):
    """legacy -> main: something about an agent that rules shall see."""

    agent: Agent
    text: str


ToLegacy = LegacyKeys | LegacyProgress | LegacyOrder

FromLegacy = LegacyReady | LegacyBatch | LegacySeen | LegacyNotice | LegacyDone | Pulse
