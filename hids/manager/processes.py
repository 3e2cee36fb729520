"""A process of the manager as a child in its tree."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hids.actors.child_process import ChildProcess
from hids.actors.stage import Mailbox
from hids.adapters.channel import Channel, open_channel
from hids.adapters.process import Launched, ended
from hids.ports import Clock

PULSE_LIMIT_S = 15.0
"""A lane, an output or the index may wait so long for a slow disk."""


def start_process(
    mailbox: Mailbox,
    launch: Callable[[], Launched],
    says: Any,
    receive: Callable[[Any], None],
    clock: Clock,
    greet: Callable[[], Any] | None = None,
) -> object:
    """Start one life.

    Args:
        mailbox: what it is to be told.
        launch: starts the process.
        says: union of the messages that come from it.
        receive: takes them, all but the pulse.
        clock: for the watch on its pulse.
        greet: gives the first message for it, or None.
    """
    return ChildProcess.start(
        mailbox, launch, partial(_connect, says), receive, ended, clock, greet=greet, pulse_limit_s=PULSE_LIMIT_S
    )


def _connect(says: Any, launched: Launched, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(launched.sock, says, got, closed)
