"""Main and the responder's process, which decides what is done about alerts.

main --Roster, ResponseHeard, ResponseAsk--> responder --Ordered, ResponseNoted, ResponseTold, ...--> main
"""

from typing import Literal

import msgspec

from hids.messages.outputs import Cursors, Outboxed
from hids.messages.response import Noted, Respond, Responded
from hids.messages.supervision import Pulse
from hids.messages.terms import AgentId


class Enlisted(msgspec.Struct, frozen=True, array_like=True):
    """An agent as the responder knows it."""

    id: AgentId
    name: str
    addresses: tuple[str, ...] = ()
    legacy: bool = False
    """An agent of OSSEC or Wazuh."""


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """main -> responder: these agents there are. Nothing is decided before the first one came."""

    agents: tuple[Enlisted, ...]
    anew: bool = False
    """Main's desk has just started and knows of no order: give it again what is open."""


class ResponseHeard(msgspec.Struct, frozen=True, tag="response_heard"):
    """main -> responder: an agent's word, or main's about an old agent."""

    agent: AgentId
    said: Responded


class ResponseAsk(msgspec.Struct, frozen=True, tag="response_ask"):
    """main -> responder: a person wants something."""

    number: int
    """Comes back in `ResponseAnswer`."""
    what: Literal["run", "undo", "undo_all"]
    by: str
    agent: str = ""
    """Id or name; empty: all."""
    action: str = ""
    """Name of the command to run."""
    target: str = ""
    """Address, user or order id."""
    timeout_s: int = 0


class ResponseAnswer(msgspec.Struct, frozen=True, tag="response_answer"):
    """responder -> main."""

    number: int
    problem: str = ""
    orders: tuple[str, ...] = ()
    """Ids of the orders that were given, or are to be undone."""


class Ordered(msgspec.Struct, frozen=True, tag="ordered"):
    """responder -> main: bring this to its agent, now or when it comes. On the responder's disk until it is answered."""

    agent: AgentId
    id: str
    until_ms: int
    """Useless from then on; 0: never."""
    undo: bool
    respond: Respond
    legacy: bool = False


class ResponseNoted(msgspec.Struct, frozen=True, tag="response_noted"):
    """responder -> main: tell this agent that its word is on disk."""

    agent: AgentId
    noted: Noted


class ResponseTold(msgspec.Struct, frozen=True, tag="response_told"):
    """responder -> main: something that rules shall see."""

    text: str


ToResponder = Outboxed | Roster | ResponseHeard | ResponseAsk

FromResponder = Cursors | Ordered | ResponseNoted | ResponseTold | ResponseAnswer | Pulse
