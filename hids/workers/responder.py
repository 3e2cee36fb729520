"""The responder's process: it reads what attackers write, so it is none of main's.

main --Outboxed, Roster, ...--> [responder] --Cursors, Ordered, ...--> main
"""

import argparse
import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hids.actors.responder import OUTPUT, Responder
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.family import die_with_parent
from hids.adapters.order_signing import OrderSigner
from hids.adapters.outbox import Outbox
from hids.adapters.responses import ResponseStore
from hids.adapters.surroundings import surroundings
from hids.core.response.policy import Policy, networks_of
from hids.messages.outputs import Outboxed
from hids.messages.responder import ToResponder
from hids.workers.inside import (
    Stopping,
    end_on_exit,
    hold,
    leave_signals_to_main,
    node_of,
    run,
    set_up_logging,
    tell_pulse,
)

MAILBOX_BOUND = 100_000
"""Words of agents and people: bounded by the orders that are out."""


async def _main(options: argparse.Namespace) -> int:
    stopping, left = Stopping(), asyncio.Event()
    policy = msgspec.json.decode(options.policy, type=Policy)
    names = tuple(msgspec.json.decode(options.names, type=list[str]))
    mailbox = Mailbox(OUTPUT, MAILBOX_BOUND)
    end_on_exit((mailbox,), lambda _name: left.set())

    def receive(message: ToResponder) -> None:
        if not isinstance(message, Outboxed) or mailbox.depth == 0:  # of those only the newest counts
            mailbox.tell(message)

    channel = open_channel(
        socket.socket(fileno=options.channel_fd), ToResponder, on_message=receive, on_close=stopping.stop
    )
    store = ResponseStore(Path(options.database))
    Responder.start(
        mailbox,
        policy,
        networks_of(policy.limits.allow, "[responses] allow"),
        store,
        Outbox(Path(options.ledger)),
        OrderSigner.read(Path(options.key)).sign,
        lambda: surroundings(names),
        SystemClock(),
        channel.send,
    )
    pulse = asyncio.ensure_future(tell_pulse(channel, lambda: (node_of(mailbox, "responder"),)))
    status = await stopping.wait()
    pulse.cancel()
    mailbox.shut_down()
    await left.wait()
    store.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-responder", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--database", required=True, help="path of responses.db")
    parser.add_argument("--key", required=True, help="file of the key that signs orders")
    parser.add_argument("--policy", required=True, help="JSON of the policy")
    parser.add_argument("--names", required=True, help="JSON list of the manager's names and addresses")
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    hold(Path(options.database).with_suffix(".lock"))
    run(_main(options))


if __name__ == "__main__":
    main()
