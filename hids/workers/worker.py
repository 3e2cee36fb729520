"""A worker: one process a core, forked by the nursery with the compiled plans in memory.

    main --Job--> [decoder -> rule shard] --Outcome--> main

One thread: hyperscan and RE2 release the GIL at every call, and beside a busy thread each call would wait a switch
interval of 5 ms (docs/decisions/0002-one-busy-thread-a-process.md).
"""

import socket
from collections.abc import Sequence

from hids.actors.decoder import Decoder, Recognition
from hids.actors.rule_shard import RuleShard
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.markpage import MarkPage
from hids.core.rules.plan import Plan
from hids.messages import Job, Outcome
from hids.workers.inside import Stopping, end_on_exit, node_of, tell_pulse


async def main(channel_fd: int, progress_fd: int, number: int, plans: Sequence[Plan], manager: str) -> int:
    """Work until main closes the channel. Returns the exit status."""
    import asyncio  # noqa: PLC0415 - the nursery, which imports this module, has no use for it

    stopping = Stopping()
    page = MarkPage.of(progress_fd)
    decoding = Mailbox("decoder", 4)
    judging = Mailbox("rule_shard", 4)
    end_on_exit((decoding, judging))
    channel = open_channel(socket.socket(fileno=channel_fd), Job, on_message=decoding.tell, on_close=stopping.stop)

    def judge(recognition: Recognition) -> None:
        judging.tell(recognition)

    def send(outcome: Outcome) -> None:
        channel.send(outcome)

    RuleShard.start(judging, plans, page.mark, send, worker=number, manager=manager)
    Decoder.start(decoding, plans, page.mark, judge)
    pulse = asyncio.ensure_future(
        tell_pulse(channel, lambda: (node_of(decoding, "decoder"), node_of(judging, "rule shard")))
    )
    status = await stopping.wait()
    pulse.cancel()
    return status
