"""What the manager knows of files, and what people have done with it.

syscheck store --Baseline, FileChange, DigestCheck--> ledger;  control --BaselineOrder, Maintain--> main -> lane
"""

from typing import Literal

import msgspec

from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent, AgentId, ShortText


class Baseline(msgspec.Struct, frozen=True, array_like=True):
    """What the manager knows of one path of an agent. syscheck store -> ledger."""

    fact: FileFact
    changes: int = 0
    """How often it changed, since a person set it to zero."""
    told: bytes = b""
    """`entry_digest` of the last fact that came, where more is known than it said; else empty."""


class FileChange(msgspec.Struct, frozen=True, array_like=True):
    """One change of a path, for its history. syscheck store -> ledger."""

    agent: AgentId
    path: str
    at_ms: int
    """Event time."""
    event: str
    """"added", "modified" or "deleted"."""
    told: bytes
    """JSON: the alert's `syscheck` member."""
    changes: int
    """How often it had changed then, this one included."""
    verdict: str = ""
    """Who answers for it (hids.core.syscheck.verdict)."""


class DigestCheck(msgspec.Struct, frozen=True, array_like=True):
    """What comparing digests has shown. syscheck store -> ledger."""

    id: str
    agent: AgentId
    directories: int = 0
    differing: tuple[str, ...] = ()
    done: bool = False


class Maintenance(msgspec.Struct, frozen=True):
    """Somebody works on some agents for a while, and says so."""

    id: str
    agents: tuple[AgentId, ...]
    scope: ShortText
    """Who that is, in words: an agent's name or "group web"."""
    owner: ShortText
    reason: ShortText
    start_ms: int
    end_ms: int
    ended_ms: int = 0
    """When it ended; 0: it did not yet."""
    ended_by: ShortText = ""
    """Empty: by itself."""


class BaselineOrder(msgspec.Struct, frozen=True, tag="baseline_order"):
    """control -> main -> lane: what a person wants done with what is known of files."""

    id: ShortText
    """It is kept under this, so that whoever ordered it sees that it is done."""
    what: Literal["accept", "zero", "ignore", "clear"]
    """Changes are known and well, and count anew; they count anew; further ones are recorded only; all is forgotten."""
    agent: Agent
    path: str
    """This path and what is below it; empty: everything."""
    through: int
    """Number of the last change that it is about."""
    by: ShortText


class Maintain(msgspec.Struct, frozen=True, tag="maintain"):
    """control -> main -> lane: begin a maintenance, or end the one of that id."""

    maintenance: Maintenance
