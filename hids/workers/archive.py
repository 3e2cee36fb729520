"""The archive's process: every batch on disk, before it is committed.

main --Job--> event archiver --Kept--> main
"""

import argparse
import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from hids.actors.event_archiver import EventArchiver
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import EventArchive
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.verify import ARCHIVE
from hids.adapters.family import die_with_parent
from hids.messages.keeping import ArchiveReady, ToArchive
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

BOUND = 100_000
"""Batches; never reached, since main's credit bounds the bytes under way."""


async def _main(options: argparse.Namespace) -> int:
    stopping, left = Stopping(), asyncio.Event()
    mailbox = Mailbox("event_archiver", BOUND)
    end_on_exit((mailbox,), stopped=lambda _name: left.set())
    clock, evidence = SystemClock(), Path(options.evidence)
    heads = Heads(evidence / ARCHIVE, EvidenceKey.open_or_create(evidence))
    archive = EventArchive(Path(options.archive), heads, clock)
    channel = open_channel(
        socket.socket(fileno=options.channel_fd), ToArchive, on_message=mailbox.tell, on_close=stopping.stop
    )
    EventArchiver.start(mailbox, archive, clock, channel.send, sign_every_s=options.head_every_s)
    channel.send(ArchiveReady())
    pulse = asyncio.ensure_future(tell_pulse(channel, lambda: (node_of(mailbox, "archive of events"),)))
    status = await stopping.wait()
    pulse.cancel()
    mailbox.shut_down()
    await left.wait()
    archive.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-archive", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--archive", required=True, help="folder of the archive")
    parser.add_argument("--evidence", required=True, help="folder of the key and the signed heads")
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--head-every-s", type=float, default=600.0)
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
