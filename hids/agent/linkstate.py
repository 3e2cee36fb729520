"""What others see of the link, whichever manager it speaks with, and may ask of it."""

import msgspec

from hids.actors.stage import Control


class Probe(Control):
    """responder -> link: have the manager say something."""


class LinkState(msgspec.Struct):
    """What `hids-agent status` shows of the link. Written by the link, read on the same loop."""

    connected: bool = False
    manager: str = ""
    agent_id: str = ""
    agent_name: str = ""
    acked: int = 0
    """Sequence that the manager committed last."""
    problem: str = ""
    peer: str = ""
    """Address of the manager, as the last session had it."""
    heard_s: float = 0.0
    """When it was heard last, monotonic."""
