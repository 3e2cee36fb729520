"""A process that looks at every process of the host as it begins, and says who one was. Started by `processwatch.py`; not for people.

    kernel --connector--> processes.py <--Recall, Prove-- agent

A process of its own, because it has a few tenths of a millisecond to look: in the agent another thread may hold Python's
lock for longer. It goes before all others, where it may: it has work only as others begin processes, so it starves none.
"""

import argparse
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from hids.agent.connector import Connector
from hids.agent.processes import Processes

NICE = -10
"""Where it may not go before all others."""
MOST_BYTES = 16_384
"""Of a question or an answer."""


MOST_EVENTS = 1_000
"""In a tenth of a second; when there were more, the next tenth is heard in strokes of `NAP_S`: each waking costs more than an event."""
NAP_S = 0.001
_WINDOW_S = 0.1


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Who has or had this number? Answered by a `Who` or nil."""

    pid: int
    since_ns: int | None
    """See `Processes.recall`."""


class Prove(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Does the kernel tell? Answered by a `Proof`."""


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """Whether the kernel tells of processes."""

    told: bool
    lost: int
    """Times that its queue was full."""


class Storm:
    """Rests a little after each stroke while very many processes begin and end."""

    def __init__(self) -> None:
        self._until_s = 0.0
        self._count = 0
        self._rages = False

    def rest(self, count: int) -> None:
        """So many events were heard."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._rages = self._count > MOST_EVENTS and now_s < self._until_s + _WINDOW_S
            self._count, self._until_s = 0, now_s + _WINDOW_S
        self._count += count
        if self._rages:
            time.sleep(NAP_S)


def serve(processes: Processes, control: socket.socket) -> None:
    """Look and answer until the agent closes its end."""
    poll = select.poll()
    poll.register(processes.fileno(), select.POLLIN)
    poll.register(control.fileno(), select.POLLIN)
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Recall | Prove).decode
    storm = Storm()
    while True:
        ready = poll.poll()
        storm.rest(processes.hear())
        if all(descriptor != control.fileno() for descriptor, _ in ready):
            continue
        data = control.recv(MOST_BYTES)
        if not data:
            return
        question: Recall | Prove = decode(data)
        match question:
            case Recall(pid, since_ns):
                processes.hear()  # what it did before it was asked for
                control.send(encode(processes.recall(pid, since_ns)))
            case Prove():
                control.send(encode(Proof(processes.prove(), processes.lost)))


def go_first() -> None:
    """Before all others, or at least before most."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one agent."""
    parser = argparse.ArgumentParser(prog="hids-processloop", description="Started by hids-agent; not for people.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--connector-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent ends it
    go_first()
    subscription, control = socket.socket(fileno=options.connector_fd), socket.socket(fileno=options.control_fd)
    with suppress(ConnectionError), subscription, control:
        serve(Processes(Connector(subscription)), control)


if __name__ == "__main__":
    main()
