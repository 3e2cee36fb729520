"""Servers that take what outputs send, on threads of their own."""

import contextlib
import email
import socket
import socketserver
import ssl
import threading
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class MailSink:
    """Takes mails, or refuses them as it is told."""

    def __init__(self, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = ""
        self.refused_recipients: set[str] = set()
        self.dies_after_taking = False
        self.options = options
        self.controller: Controller | None = None
        self.port = free_port()  # the library must know it before

    def start(self) -> None:
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **self.options)
        self.controller.start()

    def stop(self) -> None:
        if self.controller is not None:
            self.controller.stop()
            self.controller = None

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused_recipients:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        if self.answer:
            return self.answer
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        message["X-Recipients"] = " ".join(envelope.rcpt_tos)
        self.mails.append(message)
        if self.dies_after_taking:
            server.transport.abort()
        return "250 taken"


class LineSink:
    """A log server over TCP, or with a certificate (its key in the same file) over TLS: keeps the lines that it reads."""

    def __init__(self, pem: Path | None = None) -> None:
        self.port = free_port()
        self.context: ssl.SSLContext | None = None
        if pem is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pem)
        self.lines: list[bytes] = []
        self._server: socketserver.ThreadingTCPServer | None = None
        self._open: set[socket.socket] = set()

    def start(self) -> None:
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                if sink.context is not None:
                    self.request = sink.context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                sink._open.add(self.connection)
                with contextlib.suppress(OSError):
                    sink.lines.extend(self.rfile)
                sink._open.discard(self.connection)

            def finish(self) -> None:
                super().finish()
                self.connection.close()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is what this is about."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """As if killed: what is not read is lost."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
