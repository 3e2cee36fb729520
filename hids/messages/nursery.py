"""Main and the nursery, which has the rulesets and forks workers.

main --Fork--> nursery --NurseryReady, WorkerForked, WorkerExited, ...--> main
"""

import msgspec

from hids.messages.supervision import Pulse


class NurseryReady(msgspec.Struct, frozen=True, tag="nursery_ready"):
    """nursery -> main: rulesets are loaded, workers can be forked."""

    rulesets: tuple[tuple[str, str, int, int], ...]
    """(name, hash, decoders, rules) of each."""
    problems: tuple[str, ...] = ()
    """What is wrong with the rules on disk; if anything is, these are the ones that were good last."""


class NurseryRefused(msgspec.Struct, frozen=True, tag="nursery_refused"):
    """nursery -> main: the rulesets cannot be used; it exits after this."""

    problems: tuple[str, ...]


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """main -> nursery, with two descriptors (channel, progress): make a worker."""

    worker: int


class WorkerForked(msgspec.Struct, frozen=True, tag="forked"):
    """nursery -> main."""

    worker: int
    pid: int


class WorkerExited(msgspec.Struct, frozen=True, tag="worker_exited"):
    """nursery -> main: a worker's process has ended."""

    worker: int
    pid: int
    status: int
    """Exit status; -N when signal N killed it."""


FromNursery = NurseryReady | NurseryRefused | WorkerForked | WorkerExited | Pulse
