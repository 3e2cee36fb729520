"""A worker: one process a core, forked by the nursery with the compiled plans in memory.

    main --Job--> [decoder -> rule shard] --Outcome--> main

One thread: hyperscan and RE2 release the GIL at every call, and beside a busy thread each call would wait a switch
interval of 5 ms (docs/decisions/0002-one-busy-thread-a-process.md).
"""

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hids.actors.decoder import Decoder, Recognition
from hids.actors.dispatcher import LINES_A_WORKER
from hids.actors.rule_shard import RuleShard
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.markpage import MarkPage
from hids.adapters.rulestats import write_figures
from hids.core.rules.plan import Plan
from hids.core.rules.profile import Profile
from hids.messages.evaluation import Job, Outcome
from hids.workers.inside import Stopping, end_on_exit, node_of, tell_pulse

BOUND = 2 * LINES_A_WORKER
"""Jobs: main gives no more of them than they have lines."""

LARGE = 64
"""Lines. The outcome of so large a batch goes at once, so that main sends the next one while another is in work; those of
small ones go together."""

FIGURES_S = 10.0
"""Age of what `hidsctl rules stats` shows, at most."""


async def tell_figures(profile: Profile, folder: Path, number: int) -> NoReturn:
    """Write now and then what was sampled of rules and decoders."""
    import asyncio  # noqa: PLC0415 - as below

    while True:
        write_figures(folder, number, profile.told())  # at once, over what a worker before it has left
        await asyncio.sleep(FIGURES_S)


async def main(
    channel_fd: int, progress_fd: int, number: int, plans: Sequence[Plan], manager: str, stats: Path | None
) -> int:
    """Work until main closes the channel. Returns the exit status."""
    import asyncio  # noqa: PLC0415 - the nursery, which imports this module, has no use for it

    stopping = Stopping()
    page = MarkPage.of(progress_fd)
    decoding = Mailbox("decoder", BOUND)
    judging = Mailbox("rule_shard", BOUND)
    end_on_exit((decoding, judging))
    channel = open_channel(socket.socket(fileno=channel_fd), Job, on_message=decoding.tell, on_close=stopping.stop)

    def judge(recognition: Recognition) -> None:
        judging.tell(recognition)

    def send(outcome: Outcome) -> None:
        channel.send(outcome)
        if outcome.count >= LARGE:
            channel.flush()

    profile = None if stats is None else Profile(tuple(plan.ruleset for plan in plans), time.perf_counter_ns)
    RuleShard.start(judging, plans, page.mark, send, worker=number, manager=manager, profile=profile)
    Decoder.start(decoding, plans, page.mark, judge)
    pulse = asyncio.ensure_future(
        tell_pulse(channel, lambda: (node_of(decoding, "decoder"), node_of(judging, "rule shard")))
    )
    tasks: list[asyncio.Future[NoReturn]] = [pulse]
    if profile is not None and stats is not None:
        tasks.append(asyncio.ensure_future(tell_figures(profile, stats, number)))
    status = await stopping.wait()
    for task in tasks:
        task.cancel()
    return status
