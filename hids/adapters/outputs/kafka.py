"""Kafka: alerts as records of a topic, acknowledged by all replicas that are in sync.

key       the agent's id: alerts of one agent stay in order
headers   id: the alert's id, by which a consumer knows one that came twice
value     the alert, JSON
"""

import ssl
from typing import Any

from aiokafka import AIOKafkaProducer as _AIOKafkaProducer  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import (  # pyright: ignore[reportMissingTypeStubs]
    KafkaError,
    MessageSizeTooLargeError,
    RecordTooLargeError,
)

from hids.adapters.outputs.publishing import Named, Publisher
from hids.adapters.outputs.secrets import secret_of
from hids.core.outputs import Kafka

AIOKafkaProducer: Any = _AIOKafkaProducer  # its types are in part unknown
MAX_REQUEST = 4 * 1024 * 1024
"""Bytes of a request; a broker takes records of 1 MiB unless it is told otherwise (`message.max.bytes`)."""


class KafkaDestination(Publisher):
    """Produces deliveries. For one event loop."""

    never = (MessageSizeTooLargeError, RecordTooLargeError)
    not_now = (KafkaError, OSError)

    def __init__(self, output: Kafka) -> None:
        super().__init__(output.output, output.timeout_s)
        self._output = output
        self._producer: Any = None

    async def open(self) -> None:
        """Start a producer."""
        if self._producer is None:
            output = self._output
            self._producer = AIOKafkaProducer(
                bootstrap_servers=list(output.servers),
                client_id="hids",
                acks="all",
                enable_idempotence=True,
                max_request_size=MAX_REQUEST,
                request_timeout_ms=max(1000, round(output.timeout_s * 1000)),
                **self._credentials(),
            )
            await self._producer.start()

    async def publish(self, alert: bytes, named: Named) -> None:
        """Send a record, and wait for its acknowledgement."""
        sent = await self._producer.send(
            self._output.topic, value=alert, key=named.agent.id.encode(), headers=[("id", named.id.encode())]
        )
        await sent

    async def disconnect(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    def _credentials(self) -> dict[str, Any]:
        output = self._output
        said: dict[str, Any] = {}
        if output.tls:
            said["ssl_context"] = ssl.create_default_context(cafile=output.ca_file or None)
        if output.user:
            said |= {
                "sasl_mechanism": output.mechanism,
                "sasl_plain_username": output.user,
                "sasl_plain_password": secret_of(output.password_file),
            }
        said["security_protocol"] = f"{'SASL_' if output.user else ''}{'SSL' if output.tls else 'PLAINTEXT'}"
        return said
