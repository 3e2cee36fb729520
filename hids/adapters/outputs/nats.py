"""NATS: alerts as messages of a JetStream subject, which the server acknowledges when they are on its disk.

subject         hids.alerts
Nats-Msg-Id     the alert's id: within the stream's duplicate window the server drops what comes again
payload         the alert, JSON
"""

import ssl
from pathlib import Path
from typing import Any

import structlog
from nats.aio.client import Client, RawCredentials
from nats.errors import Error, MaxPayloadError
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from hids.adapters.files import read_private
from hids.adapters.outputs.publishing import Named, Publisher
from hids.adapters.outputs.secrets import secret_of
from hids.core.outputs import Nats
from hids.errors import StoreError

log = structlog.get_logger()

DUPLICATE_WINDOW_S = 3600.0
"""Of a stream that we make. NATS' default, two minutes, is less than a pause between two of our tries."""
_DAY_S = 86_400.0


class NatsDestination(Publisher):
    """Publishes deliveries. For one event loop."""

    never = (MaxPayloadError,)
    not_now = (Error, OSError, TimeoutError)

    def __init__(self, output: Nats) -> None:
        super().__init__(output.output, output.timeout_s)
        self._output = output
        self._client: Client | None = None
        self._stream: Any = None

    async def open(self) -> None:
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

    async def publish(self, alert: bytes, named: Named) -> None:
        """Publish a message, and wait until the server has it on disk."""
        headers = {"Nats-Msg-Id": named.id}
        await self._stream.publish(self._output.subject, alert, timeout=self._output.timeout_s, headers=headers)

    async def disconnect(self) -> None:
        """Close the connection."""
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            await client.close()

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
