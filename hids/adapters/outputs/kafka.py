"""Kafka: alerts as records of a topic, acknowledged by all replicas that are in sync.

key       the agent's id: alerts of one agent stay in order
headers   id: the alert's id, by which a consumer knows one that came twice
value     the alert, JSON
"""

import asyncio
import ssl
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer as _AIOKafkaProducer  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import (  # pyright: ignore[reportMissingTypeStubs]
    KafkaError,
    MessageSizeTooLargeError,
    RecordTooLargeError,
)

from hids.adapters.outputs.publishing import Named, in_a_line, publish_each
from hids.adapters.outputs.secrets import secret_of
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Kafka
from hids.errors import StoreError

log = structlog.get_logger()

AIOKafkaProducer: Any = _AIOKafkaProducer  # its types are in part unknown
MAX_REQUEST = 4 * 1024 * 1024
"""Bytes of a request; a broker takes records of 1 MiB unless it is told otherwise (`message.max.bytes`)."""


class KafkaDestination:
    """Produces deliveries. For one event loop."""

    def __init__(self, output: Kafka) -> None:
        self._output = output
        self._producer: Any = None

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: not all were acknowledged; which were, and which never will be, is told.
        """
        timeout_s = self._output.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                producer = await self._open()
                await publish_each(
                    delivery.alerts,
                    partial(self._send, producer),
                    never=(MessageSizeTooLargeError, RecordTooLargeError),
                    not_now=(KafkaError, OSError),
                )
        except Refused:
            await self.close()  # a new connection may find a server that can
            raise
        except TimeoutError as error:
            await self.close()
            raise Refused(f"no answer within {timeout_s:g} s") from error
        except (KafkaError, OSError, ssl.SSLError, StoreError, ValueError) as error:
            await self.close()
            raise Refused(in_a_line(error)) from error

    async def close(self) -> None:
        """Close what is open."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(1):
                    await producer.stop()
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("producer did not stop well", output=self._output.output, error=str(error))

    async def _send(self, producer: Any, alert: bytes, named: Named) -> None:
        sent = await producer.send(
            self._output.topic, value=alert, key=named.agent.id.encode(), headers=[("id", named.id.encode())]
        )
        await sent

    async def _open(self) -> Any:
        if self._producer is None:
            output = self._output
            producer = AIOKafkaProducer(
                bootstrap_servers=list(output.servers),
                client_id="hids",
                acks="all",
                enable_idempotence=True,
                max_request_size=MAX_REQUEST,
                request_timeout_ms=max(1000, round(output.timeout_s * 1000)),
                **self._credentials(),
            )
            self._producer = producer
            await producer.start()
        return self._producer

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
