"""The telemetry's process: pushes figures to a collector, where nothing waits for it. Only where `[telemetry]` says so.

main <--Said-- duties (a keeper);  it asks the control socket for the tree as hidsctl does, and reads the ledger itself
"""

import argparse
import asyncio
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from hids.actors.keeper import Duty, Keeper
from hids.actors.stage import Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.control import ask
from hids.adapters.family import die_with_parent
from hids.adapters.figures import all_figures
from hids.adapters.paths import ManagerPaths
from hids.core.exposition import Row
from hids.core.telemetry import Telemetry
from hids.errors import HidsError, StoreError
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
    stopping, left = Stopping(), asyncio.Event()
    mailbox = Mailbox("exports")
    end_on_exit((mailbox,), stopped=lambda _name: left.set())
    channel = open_channel(
        socket.socket(fileno=options.channel_fd), ToOutput, on_message=lambda _: None, on_close=stopping.stop
    )
    Keeper.start(mailbox, (_duty(options),), SystemClock(), channel.send)
    pulse = asyncio.ensure_future(tell_pulse(channel, lambda: (node_of(mailbox, "telemetry"),)))
    status = await stopping.wait()
    pulse.cancel()
    return status  # without waiting for a push that may hang: nothing of it is to be kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until main closes the channel."""
    parser = argparse.ArgumentParser(prog="hids-telemetry", description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--lock", required=True, help="held while it runs")
    parser.add_argument("--paths", required=True, help="JSON: the manager's folders")
    parser.add_argument("--manager", required=True, help="its name")
    parser.add_argument("--telemetry", required=True, help="JSON: where to, and how often")
    options = parser.parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    hold(Path(options.lock))
    run(_main(options))


if __name__ == "__main__":
    main()
