"""The responder's process: it reads what attackers write, so it is none of main's.

main --Outboxed, Roster, ...--> [responder] --Cursors, Ordered, ...--> main
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hids.actors.responder import OUTPUT, Responder
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.order_signing import OrderSigner
from hids.adapters.outbox import Outbox
from hids.adapters.responses import ResponseStore
from hids.adapters.surroundings import surroundings
from hids.core.response.policy import Policy, networks_of
from hids.messages.outputs import Outboxed
from hids.messages.responder import ToResponder
from hids.workers.inside import Household, hold, move_in, parser_of, run

MAILBOX_BOUND = 100_000
"""Words of agents and people: bounded by the orders that are out."""


async def _main(options: argparse.Namespace) -> int:
    policy = msgspec.json.decode(options.policy, type=Policy)
    names = tuple(msgspec.json.decode(options.names, type=list[str]))
    mailbox = Mailbox(OUTPUT, MAILBOX_BOUND)

    def receive(message: ToResponder) -> None:
        if not isinstance(message, Outboxed) or mailbox.depth == 0:  # of those only the newest counts
            mailbox.tell(message)

    household = Household(options.channel_fd, ToResponder, (mailbox,), "responder", receive)
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
        household.send,
    )
    status = await household.live()
    store.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-responder")
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--database", required=True, help="path of responses.db")
    parser.add_argument("--key", required=True, help="file of the key that signs orders")
    parser.add_argument("--policy", required=True, help="JSON of the policy")
    parser.add_argument("--names", required=True, help="JSON list of the manager's names and addresses")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    hold(Path(options.database).with_suffix(".lock"))
    run(_main(options))


if __name__ == "__main__":
    main()
