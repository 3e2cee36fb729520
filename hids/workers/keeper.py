"""The keeper's process: compresses, removes, anchors and reports, with low priority, where it delays nobody.

main <--Said-- keeper
"""

import argparse
import asyncio
import hashlib
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from hids.actors.keeper import Duty, Keeper
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import ArchiveRetention
from hids.adapters.evidence.anchors import Anchoring, CommandAnchor, FileAnchor
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.verify import RETIRED
from hids.adapters.family import die_with_parent
from hids.adapters.mailspool import MailSpool
from hids.adapters.reports import ScheduledReports, alerts_between
from hids.adapters.retention import FileRetention
from hids.core.keeping import Keeping
from hids.messages.outputs import ToOutput
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
from hids.workers.outputs import ALERT_OUTPUTS

RETENTION_S = 15.0
MAIL_S = 30.0
"""Between two tries of a mail that the server does not take."""
NICE = 10
"""Compressing may wait for everything else."""


def _duties(keeping: Keeping) -> list[Duty]:
    clock = SystemClock()
    evidence, lib = Path(keeping.evidence), Path(keeping.lib)
    files = [Path(keeping.alerts) / name for name in ALERT_OUTPUTS]
    retired = Heads(evidence / RETIRED, EvidenceKey.open_or_create(evidence))
    duties = [
        Duty(
            "retention",
            RETENTION_S,
            FileRetention(files, retired, clock, keeping.limit, compress=keeping.compress).run,
        )
    ]
    if keeping.archive:
        archive = ArchiveRetention(Path(keeping.archive), clock, keeping.archive_limit)
        duties.append(Duty("retention of the archive", RETENTION_S, archive.run))
    if keeping.scheduled:
        duties += _reporting(keeping, clock)
    if keeping.anchor_file:
        cursor = _cursor(lib, keeping.anchor_file)
        anchoring = Anchoring(FileAnchor(Path(keeping.anchor_file)), evidence, files, cursor)
        duties.append(Duty("anchor file", keeping.anchor_s, anchoring.run))
    if keeping.anchor_command:
        cursor = _cursor(lib, *keeping.anchor_command)
        anchoring = Anchoring(CommandAnchor(keeping.anchor_command), evidence, files, cursor)
        duties.append(Duty("anchor command", keeping.anchor_s, anchoring.run))
    return duties


def _reporting(keeping: Keeping, clock: SystemClock) -> list[Duty]:
    """Reports are made whether or not the mail server is there."""
    lib = Path(keeping.lib)
    alerts = partial(alerts_between, Path(keeping.search), Path(keeping.alerts) / ALERT_OUTPUTS[0])
    duties: list[Duty] = []
    spool: MailSpool | None = None
    if keeping.mail is not None:
        from hids.adapters.outputs.mailer import SmtpMailer  # noqa: PLC0415 - most keepers send none

        spool = MailSpool(lib / "report-mails", SmtpMailer(keeping.mail), clock)
        duties.append(Duty("report mails", MAIL_S, spool.run))
    post = spool.add if spool is not None else None
    reports = ScheduledReports(keeping.scheduled, Path(keeping.reports), lib / "reports.json", alerts, clock, post)
    return [Duty("reports", RETENTION_S, reports.run), *duties]


def _cursor(lib: Path, *anchor: str) -> Path:
    """Another anchor gets everything, so it has a cursor of its own."""
    return lib / f"anchor-{hashlib.sha256(chr(0).join(anchor).encode()).hexdigest()[:16]}.cursor"


async def _main(options: argparse.Namespace) -> int:
    stopping, left = Stopping(), asyncio.Event()
    mailbox = Mailbox("duties")
    end_on_exit((mailbox,), stopped=lambda _name: left.set())
    channel = open_channel(
        socket.socket(fileno=options.channel_fd), ToOutput, on_message=lambda _: None, on_close=stopping.stop
    )
    keeping = msgspec.json.decode(options.keeping, type=Keeping)
    Keeper.start(mailbox, _duties(keeping), SystemClock(), channel.send)
    pulse = asyncio.ensure_future(tell_pulse(channel, lambda: (node_of(mailbox, "keeper"),)))
    status = await stopping.wait()
    pulse.cancel()
    mailbox.shut_down()
    await left.wait()
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-keeper", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--keeping", required=True, help="JSON: what is kept where, and how long")
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    with suppress(OSError):
        os.nice(NICE)
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
