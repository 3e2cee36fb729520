"""The archive's process: every batch on disk, before it is committed.

main --Job--> event archiver --Kept--> main
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hids.actors.event_archiver import EventArchiver
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import EventArchive
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.verify import ARCHIVE
from hids.messages.keeping import ArchiveReady, ToArchive
from hids.workers.inside import Household, hold, move_in, parser_of, run

BOUND = 100_000
"""Batches; never reached, since main's credit bounds the bytes under way."""


async def _main(options: argparse.Namespace) -> int:
    mailbox = Mailbox("event_archiver", BOUND)
    clock, evidence = SystemClock(), Path(options.evidence)
    heads = Heads(evidence / ARCHIVE, EvidenceKey.open_or_create(evidence))
    archive = EventArchive(Path(options.archive), heads, clock)
    household = Household(options.channel_fd, ToArchive, (mailbox,), "archive of events", mailbox.tell)
    EventArchiver.start(mailbox, archive, clock, household.send, sign_every_s=options.head_every_s)
    household.send(ArchiveReady())
    status = await household.live()
    archive.close()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-archive")
    parser.add_argument("--archive", required=True, help="folder of the archive")
    parser.add_argument("--evidence", required=True, help="folder of the key and the signed heads")
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--head-every-s", type=float, default=600.0)
    options = parser.parse_args(arguments)
    move_in(options.parent)
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
