"""The network outputs' process: one sender each. A process of its own: TLS and formatting shall not slow the files.

main --Outboxed--> [sender ...] --Cursors--> main
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hids.actors.sender import Sender
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.kinds import Site, destination_of
from hids.adapters.outputs.store import OutputStore
from hids.core.delivery import Destination
from hids.core.outputs import AnyOutput
from hids.messages.outputs import ToOutput
from hids.workers.inside import Household, hold, move_in, newest_to, parser_of, run


async def _main(options: argparse.Namespace) -> int:
    clock, folder = SystemClock(), Path(options.cursors)
    outputs = msgspec.json.decode(options.senders, type=tuple[AnyOutput, ...])
    mailboxes = {output.output: Mailbox(output.output) for output in outputs}
    actors = tuple(mailboxes.values())
    household = Household(options.channel_fd, ToOutput, actors, "sender", newest_to(actors))
    destinations: list[Destination] = []
    for output in outputs:
        store = OutputStore(folder, Outbox(Path(options.ledger)), output, clock)
        destinations.append(destination_of(output, Site(folder, clock, store.set_aside)))
        Sender.start(mailboxes[output.output], store, destinations[-1], household.send)
    status = await household.live()
    for destination in destinations:
        await destination.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-senders")
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--cursors", required=True, help="folder of the cursors")
    parser.add_argument("--senders", required=True, help="JSON list of outputs")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    hold(Path(options.cursors) / "senders.lock")
    run(_main(options))


if __name__ == "__main__":
    main()
