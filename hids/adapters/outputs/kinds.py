"""Which destination serves which kind of `[[output]]`. A kind's libraries are loaded only where it is used."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hids.core.delivery import Destination
from hids.core.outputs import AnyOutput, Kafka, Nats, OpenSearch, Sql, Webhook
from hids.errors import ConfigError
from hids.ports import Clock

EXTRAS = {"sql": "sql", "kafka": "kafka", "nats": "nats"}
"""Kinds that need what hids[manager] does not bring."""


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
    try:
        return _made(output, site)
    except ImportError as error:
        raise ConfigError(
            f"[[output]] {output.name}: type {output.type!r} needs a library that is not here ({error}); "
            f"pip install 'hids[{EXTRAS.get(output.type, 'manager')}]'"
        ) from error


def _made(output: AnyOutput, site: Site) -> Destination:
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
