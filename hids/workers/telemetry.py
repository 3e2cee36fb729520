"""The telemetry's process: pushes figures to a collector, where nothing waits for it. Only where `[telemetry]` says so.

main <--Said-- duties (a keeper);  it asks the control socket for the tree as hidsctl does, and reads the ledger itself
"""

import argparse
import os
import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from hids.actors.keeper import Duty, Keeper
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.control import ask
from hids.adapters.figures import all_figures
from hids.adapters.paths import ManagerPaths
from hids.core.exposition import Row
from hids.core.telemetry import Telemetry
from hids.errors import HidsError, StoreError
from hids.messages.outputs import ToOutput
from hids.workers.inside import Household, hold, move_in, parser_of, run

NICE = 10
MAX_BYTES = 512 * 1024 * 1024
"""Of address space, so that no answer of a collector fills the memory. A push of 100,000 points has 217 MiB resident."""


def _duty(options: argparse.Namespace) -> Duty:
    from hids.adapters.telemetry import TelemetryExport  # noqa: PLC0415 - an optional library, loaded only in here

    clock = SystemClock()
    paths = msgspec.json.decode(options.paths, type=ManagerPaths, dec_hook=lambda kind, text: kind(text))
    telemetry = msgspec.json.decode(options.telemetry, type=Telemetry)

    def gather() -> list[Row]:
        try:
            status = ask(paths.control, "status")
        except HidsError as error:
            raise StoreError(str(error)) from error
        return all_figures(paths, status, clock.now_ms())

    return Duty("telemetry", telemetry.every_s, TelemetryExport(telemetry, options.manager, gather, clock).run)


async def _main(options: argparse.Namespace) -> int:
    mailbox = Mailbox("exports")
    household = Household(options.channel_fd, ToOutput, (mailbox,), "telemetry", lambda _: None)
    Keeper.start(mailbox, (_duty(options),), SystemClock(), household.send)
    return await household.live()  # a push that hangs is cut off by main, which waits for none


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = parser_of("hids-telemetry")
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--paths", required=True, help="JSON: the manager's folders")
    parser.add_argument("--manager", required=True, help="its name")
    parser.add_argument("--telemetry", required=True, help="JSON: where to, and how often")
    options = parser.parse_args(arguments)
    move_in(options.parent)
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
