"""A response, between manager and agent: what shall be done about an attacker, and what came of it.

manager --Respond (ResponseOrder)--> agent --Responded--> manager --Noted--> agent
"""

from typing import Annotated, Literal

import msgspec

from hids.messages.lines import MAX_LOCATION
from hids.messages.terms import Number, ShortText


class ResponseOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent shall do against an attacker, or undo. Travels packed and signed in `Respond`."""

    id: ShortText
    """<alert id>:<response>:<agent>: the same in every repeat. An undo has the id of what it undoes."""
    agent: ShortText
    """Id of the one agent that it is for."""
    response: ShortText
    """Name of the response; "by hand" when a person ordered it."""
    command: ShortText
    action: ShortText
    """What the command does: the name of a built-in action, or of a script."""
    undo: bool = False
    address: ShortText = ""
    user: ShortText = ""
    file: Annotated[str, msgspec.Meta(max_length=MAX_LOCATION)] = ""
    issued_ms: Number = 0
    until_ms: Number = 0
    """When it is undone, by the manager's clock; 0: never."""
    alert: ShortText = ""
    """Id of the alert; empty when a person ordered it."""
    reference: ShortText = ""
    """TIME.NUMBER, as OSSEC's scripts name an alert."""
    rule: ShortText = ""
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """The rule's description, or who ordered it."""
    extra: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=32)] = ()
    form: Literal["ossec", "wazuh"] = "ossec"
    """How a script is called."""
    once: bool = False
    """It happens and is over: there is nothing to undo."""
    alert_json: Annotated[bytes, msgspec.Meta(max_length=65_536)] = b""
    """The alert itself, for scripts of the form `wazuh`."""


class Respond(msgspec.Struct, frozen=True, tag="respond"):
    """manager -> agent: carry this out. Repeated in each session until `Responded` comes."""

    body: bytes
    """msgpack of a `ResponseOrder`."""
    signature: bytes
    """Ed25519 over `hids.core.response.order.to_sign(body)`."""
    certificate: bytes
    """PEM: says whose key that is; of the CA that the agent joined."""


ResponseState = Literal["done", "failed", "refused", "undone"]
"""What became of a response at an agent."""


class Responded(msgspec.Struct, frozen=True, tag="responded"):
    """agent -> manager: what became of an order. Said in each session until the manager has noted it."""

    order: ShortText
    """Id of the `ResponseOrder`."""
    state: ResponseState
    text: ShortText = ""
    """Why, in words."""
    at_ms: Number = 0
    """By the agent's clock."""


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """manager -> agent: this outcome is on my disk."""

    order: str
    state: str
