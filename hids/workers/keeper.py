"""The keeper's process: compresses, removes, anchors and reports, with low priority, where it delays nobody.

main <--Said-- keeper
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from hids.actors.keeper import Duty, Keeper
from hids.actors.stage import Mailbox
from hids.adapters.believed import BelievedClock, ClockWatch
from hids.adapters.clock import SystemClock
from hids.adapters.event_archive import ArchiveRetention
from hids.adapters.evidence.anchors import Anchoring, CommandAnchor, FileAnchor
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.verify import RETIRED
from hids.adapters.mailspool import MailSpool
from hids.adapters.reports import ScheduledReports, alerts_between
from hids.adapters.retention import FileRetention
from hids.core.keeping import Keeping
from hids.messages.outputs import ToOutput
from hids.workers.inside import Household, hold, move_in, parser_of, run
from hids.workers.outputs import ALERT_OUTPUTS

RETENTION_S = 15.0
CLOCK_S = 60.0
MAIL_S = 30.0
"""Between two tries of a mail that the server does not take."""
NICE = 10
"""Compressing may wait for everything else."""


def _duties(keeping: Keeping) -> list[Duty]:
    evidence, lib = Path(keeping.evidence), Path(keeping.lib)
    clock = BelievedClock(SystemClock(), lib)
    files = [Path(keeping.alerts) / name for name in ALERT_OUTPUTS]
    retired = Heads(evidence / RETIRED, EvidenceKey.open_or_create(evidence))
    duties = [
        Duty("clock", CLOCK_S, ClockWatch(clock).run),
        Duty(
            "retention",
            RETENTION_S,
            FileRetention(files, retired, clock, keeping.limit, compress=keeping.compress).run,
        ),
    ]
    if keeping.archive:
        archive = ArchiveRetention(Path(keeping.archive), clock, keeping.archive_limit)
        duties.append(Duty("retention of the archive", RETENTION_S, archive.run))
    if keeping.scheduled:
        duties += _reporting(keeping)
    if keeping.anchor_file:
        cursor = _cursor(lib, keeping.anchor_file)
        anchoring = Anchoring(FileAnchor(Path(keeping.anchor_file)), evidence, files, cursor)
        duties.append(Duty("anchor file", keeping.anchor_s, anchoring.run))
    if keeping.anchor_command:
        cursor = _cursor(lib, *keeping.anchor_command)
        anchoring = Anchoring(CommandAnchor(keeping.anchor_command), evidence, files, cursor)
        duties.append(Duty("anchor command", keeping.anchor_s, anchoring.run))
    return duties


def _reporting(keeping: Keeping) -> list[Duty]:
    """Reports are made whether or not the mail server is there."""
    lib = Path(keeping.lib)
    # By a clock that was set ahead, a day would be over that is not; while we were off it may be.
    calendar = BelievedClock(SystemClock(), None)
    alerts = partial(alerts_between, Path(keeping.search), Path(keeping.alerts) / ALERT_OUTPUTS[0])
    duties: list[Duty] = []
    spool: MailSpool | None = None
    if keeping.mail is not None:
        from hids.adapters.outputs.mailer import SmtpMailer  # noqa: PLC0415 - most keepers send none

        spool = MailSpool(lib / "report-mails", SmtpMailer(keeping.mail), calendar)
        duties.append(Duty("report mails", MAIL_S, spool.run))
    post = spool.add if spool is not None else None
    reports = ScheduledReports(keeping.scheduled, Path(keeping.reports), lib / "reports.json", alerts, calendar, post)
    return [Duty("reports", RETENTION_S, reports.run), *duties]


def _cursor(lib: Path, *anchor: str) -> Path:
    """Another anchor gets everything, so it has a cursor of its own."""
    return lib / f"anchor-{hashlib.sha256(chr(0).join(anchor).encode()).hexdigest()[:16]}.cursor"


async def _main(options: argparse.Namespace) -> int:
    mailbox = Mailbox("duties")
    household = Household(options.channel_fd, ToOutput, (mailbox,), "keeper", lambda _: None)
    keeping = msgspec.json.decode(options.keeping, type=Keeping)
    Keeper.start(mailbox, _duties(keeping), SystemClock(), household.send)
    return await household.live()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-keeper")
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--keeping", required=True, help="JSON: what is kept where, and how long")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    with suppress(OSError):
        os.nice(NICE)
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
