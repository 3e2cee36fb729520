"""The process that speaks with OSSEC's and Wazuh's agents: what strangers send is decrypted and inflated here only.

main --LegacyKeys|LegacyProgress|LegacyOrder--> legacy desk --LegacyBatch|LegacySeen|...--> main
"""

import argparse
import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hids.actors.legacy_desk import LegacyDesk
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.dbsync_rows import DbSyncRows
from hids.adapters.journal import Journal
from hids.adapters.legacy_port import LegacyPort
from hids.adapters.shared_files import SharedFiles
from hids.core.wire.ossec.manager import Limits
from hids.messages.legacy import ToLegacy
from hids.workers.inside import Stopping, end_on_exit, hold, move_in, node_of, parser_of, run, tell_pulse

DESK_BOUND = 100_000
"""Never reached: the port stops reading long before, and main sends little."""


async def _main(options: argparse.Namespace) -> int:
    stopping, clock = Stopping(), SystemClock()
    desk = Mailbox("legacy_desk", DESK_BOUND)
    end_on_exit((desk,), lambda _name: stopping.stop())
    channel = open_channel(
        socket.socket(fileno=options.channel_fd), ToLegacy, on_message=desk.tell, on_close=desk.shut_down
    )
    udp, handover = socket.socket(fileno=options.udp_fd), socket.socket(fileno=options.handover_fd)
    open_journal: Callable[[Callable[[], bytes]], Journal] = partial(Journal, Path(options.journal))
    LegacyDesk.start(
        desk,
        partial(LegacyPort, udp, handover),
        open_journal,
        DbSyncRows(Path(options.journal) / "dbsync.db"),
        SharedFiles(Path(options.shared), clock),
        os.urandom,
        clock,
        channel.send,
        manager=options.manager,
        limits=Limits(blowfish=options.blowfish, disconnected_floor_s=options.disconnected_after),
        journal_bytes=options.journal_bytes,
    )
    pulse = asyncio.ensure_future(tell_pulse(channel, lambda: (node_of(desk, "legacy desk"),)))
    status = await stopping.wait()
    pulse.cancel()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-legacy")
    parser.add_argument("--udp-fd", type=int, required=True, help="bound UDP socket")
    parser.add_argument("--handover-fd", type=int, required=True, help="brings TCP connections from main")
    parser.add_argument("--journal", required=True, help="folder of the journal")
    parser.add_argument("--journal-bytes", type=int, required=True)
    parser.add_argument("--shared", required=True, help="folder of the files that agents get")
    parser.add_argument("--manager", required=True, help="this manager's name")
    parser.add_argument("--blowfish", action="store_true", help="take Blowfish, too")
    parser.add_argument("--disconnected-after", type=float, required=True, help="seconds, at least")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    folder = Path(options.journal)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hold(folder / ".lock")
    run(_main(options))


if __name__ == "__main__":
    main()
