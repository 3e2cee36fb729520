"""The network outputs' process: one sender each. A process of its own: TLS and formatting shall not slow the files.

main --Outboxed--> [sender ...] --Cursors--> main
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hids.actors.sender import Sender
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.family import die_with_parent
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.kinds import Site, destination_of
from hids.adapters.outputs.store import OutputStore
from hids.core.delivery import Destination
from hids.core.outputs import AnyOutput
from hids.workers.inside import (
    Stopping,
    follow_outbox,
    hold,
    leave_signals_to_main,
    node_of,
    run,
    set_up_logging,
    tell_pulse,
)


async def _main(options: argparse.Namespace) -> int:
    stopping, left = Stopping(), asyncio.Event()
    clock, folder = SystemClock(), Path(options.cursors)
    outputs = msgspec.json.decode(options.senders, type=tuple[AnyOutput, ...])
    mailboxes = {output.output: Mailbox(output.output) for output in outputs}
    channel = follow_outbox(options.channel_fd, tuple(mailboxes.values()), left, stopping)
    destinations: list[Destination] = []
    for output in outputs:
        store = OutputStore(folder, Outbox(Path(options.ledger)), output, clock)
        destinations.append(destination_of(output, Site(folder, clock, store.set_aside)))
        Sender.start(mailboxes[output.output], store, destinations[-1], channel.send)
    pulse = asyncio.ensure_future(
        tell_pulse(channel, lambda: tuple(node_of(mailbox, "sender") for mailbox in mailboxes.values()))
    )
    status = await stopping.wait()
    pulse.cancel()
    for mailbox in mailboxes.values():
        mailbox.shut_down()
    await left.wait()
    for destination in destinations:
        await destination.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-senders", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--cursors", required=True, help="folder of the cursors")
    parser.add_argument("--senders", required=True, help="JSON list of outputs")
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    hold(Path(options.cursors) / "senders.lock")
    run(_main(options))


if __name__ == "__main__":
    main()
