"""How processes are: alive, and what the tree inside looks like."""

import msgspec


class NodeFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place in the actor tree, as `hidsctl status` shows it."""

    name: str
    kind: str
    state: str
    depth: int = 0
    bound: int = 0
    handled: int = 0
    restarts: int = 0
    last_failure: str = ""
    last_failure_ms: int = 0
    facts: dict[str, str | int | float | bool] = {}
    children: tuple["NodeFacts", ...] = ()


class Pulse(msgspec.Struct, frozen=True, tag="pulse"):
    """Any process -> main, each second: alive, and this is the tree inside."""

    nodes: tuple[NodeFacts, ...]
