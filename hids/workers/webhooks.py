"""The webhooks' process: one actor a receiver. A process of its own: TLS and JSON shall not slow the files.

main --Outboxed--> [webhook sender ...] --Cursors--> main
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hids.actors.stage import Mailbox
from hids.actors.webhook_sender import WebhookSender
from hids.adapters.clock import SystemClock
from hids.adapters.family import die_with_parent
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.webhook import Webhook, WebhookStore
from hids.core.delivery import Receiver
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
    receivers = msgspec.json.decode(options.receivers, type=tuple[Receiver, ...])
    mailboxes = {receiver.output: Mailbox(receiver.output) for receiver in receivers}
    channel = follow_outbox(options.channel_fd, tuple(mailboxes.values()), left, stopping)
    webhooks = [Webhook(receiver, SystemClock()) for receiver in receivers]
    for receiver, webhook in zip(receivers, webhooks, strict=True):
        cursor = Path(options.cursors) / f"webhook-{receiver.name}.cursor"
        store = WebhookStore(cursor, Outbox(Path(options.ledger)), receiver)
        WebhookSender.start(mailboxes[receiver.output], store, webhook.post, channel.send)
    pulse = asyncio.ensure_future(
        tell_pulse(channel, lambda: tuple(node_of(mailbox, "webhook sender") for mailbox in mailboxes.values()))
    )
    status = await stopping.wait()
    pulse.cancel()
    for mailbox in mailboxes.values():
        mailbox.shut_down()
    await left.wait()
    for webhook in webhooks:
        await webhook.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-webhooks", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ledger", required=True, help="path of ledger.db")
    parser.add_argument("--cursors", required=True, help="folder of the cursors")
    parser.add_argument("--receivers", required=True, help="JSON list of receivers")
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    hold(Path(options.cursors) / "webhooks.lock")
    run(_main(options))


if __name__ == "__main__":
    main()
