"""Which destination serves which kind of `[[output]]`. A kind's libraries are loaded only where it is used."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hids.core.delivery import Destination
from hids.core.outputs import AnyOutput, Email, SyslogOutput, Webhook
from hids.ports import Clock


class Site(NamedTuple):
    """What a destination finds where it runs."""

    folder: Path
    """Where it may keep files, whose names begin with the output's `stem`."""
    clock: Clock
    set_aside: Callable[[bytes, str], None]
    """Makes an alert a dead letter, with the reason: for who finds out after `post` that it is hopeless."""


def destination_of(output: AnyOutput, site: Site) -> Destination:
    """Make the destination of an output, a table in manager.toml.

    Raises:
        ConfigError: a library for it is not installed.
    """
    match output:
        case Webhook():
            from hids.adapters.outputs.webhook import WebhookDestination  # noqa: PLC0415 - see above

            return WebhookDestination(output, site.clock)
        case SyslogOutput():
            from hids.adapters.outputs.syslog import SyslogDestination  # noqa: PLC0415 - as above

            return SyslogDestination(output, site.clock)
        case Email():
            from hids.adapters.outputs.email import EmailDestination  # noqa: PLC0415 - as above

            return EmailDestination(output, site.folder, site.clock, site.set_aside)
