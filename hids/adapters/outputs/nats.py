"""NATS: alerts as messages of a JetStream subject, which the server acknowledges when they are on its disk.

subject         hids.alerts
Nats-Msg-Id     the alert's id: within the stream's duplicate window the server drops what comes again
payload         the alert, JSON
"""

import asyncio
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from nats.aio.client import Client, RawCredentials
from nats.errors import Error, MaxPayloadError
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from hids.adapters.files import read_private
from hids.adapters.outputs.publishing import Named, in_a_line, publish_each
from hids.adapters.outputs.secrets import secret_of
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Nats
from hids.errors import StoreError

log = structlog.get_logger()

DUPLICATE_WINDOW_S = 3600.0
"""Of a stream that we make. NATS' default, two minutes, is less than a pause between two of our tries."""
_DAY_S = 86_400.0


class NatsDestination:
    """Publishes deliveries. For one event loop."""

    def __init__(self, output: Nats) -> None:
        self._output = output
        self._client: Client | None = None
        self._stream: Any = None

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: the server did not acknowledge all; what it did, and what it never will, is told.
        """
        timeout_s = self._output.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                stream = await self._open()
                await publish_each(
                    delivery.alerts,
                    partial(self._publish, stream),
                    never=(MaxPayloadError,),
                    not_now=(Error, OSError, TimeoutError),
                )
        except Refused:
            await self.close()  # a new connection may find a server that can
            raise
        except TimeoutError as error:
            await self.close()
            raise Refused(f"no answer within {timeout_s:g} s") from error
        except (Error, OSError, ssl.SSLError, StoreError, ValueError) as error:
            await self.close()
            raise Refused(in_a_line(error)) from error

    async def close(self) -> None:
        """Close what is open."""
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            try:
                async with asyncio.timeout(1):
                    await client.close()
            except (Error, OSError, TimeoutError) as error:
                log.debug("connection did not close well", output=self._output.output, error=str(error))

    async def _publish(self, stream: Any, alert: bytes, named: Named) -> None:
        headers = {"Nats-Msg-Id": named.id}
        await stream.publish(self._output.subject, alert, timeout=self._output.timeout_s, headers=headers)

    async def _open(self) -> Any:
        """The connection, if it still is one, or a new one."""
        if self._stream is None or self._client is None or not self._client.is_connected:
            await self.close()
            output = self._output
            client: Any = Client()  # its types are in part unknown
            self._client = client  # before it connects, so that it is closed when that fails
            await client.connect(
                servers=list(output.servers),
                allow_reconnect=False,  # a new try makes a new connection ...
                max_reconnect_attempts=1,  # ... and asks each server once
                reconnect_time_wait=0,
                connect_timeout=max(1, round(output.timeout_s)),
                error_cb=self._fails,
                name="hids",
                **self._credentials(),
            )
            self._stream = client.jetstream(timeout=output.timeout_s)
            if output.stream:
                await self._make_stream(self._stream)
        return self._stream

    async def _make_stream(self, stream: Any) -> None:
        """Make the stream unless there is one."""
        output = self._output
        try:
            await stream.stream_info(output.stream)
        except NotFoundError:
            config = StreamConfig(
                name=output.stream,
                subjects=[output.subject],
                storage=StorageType.FILE,
                duplicate_window=DUPLICATE_WINDOW_S,
                max_age=output.retention_days * _DAY_S,
            )
            await stream.add_stream(config)
            log.info("stream is made", output=output.output, stream=output.stream)

    def _credentials(self) -> dict[str, Any]:
        output = self._output
        said: dict[str, Any] = {}
        if output.ca_file or any(server.startswith("tls:") for server in output.servers):
            said["tls"] = ssl.create_default_context(cafile=output.ca_file or None)
        if output.user:
            said |= {"user": output.user, "password": secret_of(output.password_file)}
        if output.token_file:
            said["token"] = secret_of(output.token_file)
        if output.credentials_file:
            data = read_private(Path(output.credentials_file))
            if data is None:
                raise StoreError(f"{output.credentials_file}: no such file; expected NATS credentials")
            said["user_credentials"] = RawCredentials(data.decode(errors="replace"))
        return said

    async def _fails(self, error: Exception) -> None:
        log.debug("connection failed", output=self._output.output, error=str(error))
