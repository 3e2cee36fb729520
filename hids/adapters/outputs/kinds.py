"""Which destination serves which kind of `[[output]]`. A kind's libraries are loaded only where it is used."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from hids.core.delivery import Destination
from hids.core.outputs import (
    AnyOutput,
    Email,
    Kafka,
    Nats,
    Notify,
    OpenSearch,
    Output,
    Sql,
    SyslogOutput,
    Webhook,
)
from hids.errors import ConfigError
from hids.ports import Clock


class Site(NamedTuple):
    """What a destination finds where it runs."""

    folder: Path
    """Where it may keep files, whose names begin with the output's `stem`."""
    clock: Clock
    set_aside: Callable[[bytes, str], None]
    """Makes an alert a dead letter, with the reason: for who finds out after `post` that it is hopeless."""


def check_library(output: Output) -> None:
    """See that the library for an output is installed.

    Raises:
        ConfigError: it is not.
    """
    module, extra = output.library
    if module:
        need(module, extra, f"[[output]] {output.name}: type {output.type!r}")


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it lies in is not there
        return False


def need(module: str, extra: str, who: str) -> None:
    """See that a module is there.

    Raises:
        ConfigError: it is not; tells which extra of ours brings it.
    """
    if not is_installed(module):
        raise ConfigError(f"{who} needs {module}: pip install 'hids[{extra}]' where hids runs")


def destination_of(output: AnyOutput, site: Site) -> Destination:  # noqa: PLR0911 - one a kind
    """Make the destination of an output, a table in manager.toml whose library is installed."""
    match output:
        case Webhook():
            from hids.adapters.outputs.webhook import WebhookDestination  # noqa: PLC0415 - see above

            return WebhookDestination(output, site.clock)
        case OpenSearch():
            from hids.adapters.outputs.opensearch import OpenSearchDestination  # noqa: PLC0415 - as above

            return OpenSearchDestination(output)
        case Sql():
            from hids.adapters.outputs.sql import SqlDestination  # noqa: PLC0415 - as above

            return SqlDestination(output)
        case Kafka():
            from hids.adapters.outputs.kafka import KafkaDestination  # noqa: PLC0415 - as above

            return KafkaDestination(output)
        case Nats():
            from hids.adapters.outputs.nats import NatsDestination  # noqa: PLC0415 - as above

            return NatsDestination(output)
        case SyslogOutput():
            from hids.adapters.outputs.syslog import SyslogDestination  # noqa: PLC0415 - as above

            return SyslogDestination(output, site.clock)
        case Email():
            from hids.adapters.outputs.email import EmailDestination  # noqa: PLC0415 - as above

            return EmailDestination(output, site.folder, site.clock, site.set_aside)
        case Notify():
            from hids.adapters.outputs.notify import NotifyDestination  # noqa: PLC0415 - as above

            return NotifyDestination(output, site.clock)
