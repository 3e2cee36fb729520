"""A receiver of webhooks as others run it: checks signatures, remembers what it was told, and misbehaves on request."""

import hashlib
import hmac
import json
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Mood = Literal["well", "failing", "hanging", "dying"]
"""`failing` answers 503; `hanging` does not answer; `dying` takes the alerts, and closes without a word."""


class Receiver:
    """Listens on a port of 127.0.0.1 until it is closed."""

    def __init__(self, secret: bytes = b"", port: int = 0, certificate: Path | None = None) -> None:
        self.secret = secret
        self.mood: Mood = "well"
        self.seen: Counter[str] = Counter()
        """How often each alert came, by id."""
        self.rules: dict[str, str] = {}
        """Rule by alert id."""
        self.logs: dict[str, str] = {}
        """Full log by alert id."""
        self.tries: list[str] = []
        """Delivery ids, as they came."""
        self.forged = 0
        """Requests whose signature was wrong."""
        self.changed = 0
        """Deliveries that came again under the same id with other alerts."""
        self.parted = threading.Event()
        self._bodies: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}/hids"

    def close(self) -> None:
        """Stop listening; whoever hangs is let go."""
        self.parted.set()
        self._server.shutdown()
        self._server.server_close()

    def recover(self) -> None:
        """Behave again; whoever hangs is let go."""
        self.mood = "well"
        self.parted.set()
        self.parted = threading.Event()

    def take(self, headers: Any, body: bytes) -> None:
        """Remember one request."""
        signed = headers["X-Hids-Timestamp"].encode() + b"." + body
        expected = "sha256=" + hmac.new(self.secret, signed, hashlib.sha256).hexdigest()
        delivery = headers["X-Hids-Delivery"]
        with self._lock:
            if self.secret and not hmac.compare_digest(expected, headers.get("X-Hids-Signature", "")):
                self.forged += 1
                return
            self.tries.append(delivery)
            digest = hashlib.sha256(body).digest()
            self.changed += self._bodies.setdefault(delivery, digest) != digest
            for alert in json.loads(body)["alerts"]:
                self.seen[alert["id"]] += 1
                self.rules[alert["id"]] = alert["rule"]["id"]
                self.logs[alert["id"]] = alert["full_log"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what this is about."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if receiver.mood == "failing":
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"not now")
            return
        if receiver.mood == "hanging":
            receiver.parted.wait()
            return
        receiver.take(self.headers, body)
        if receiver.mood == "dying":
            self.close_connection = True
            return
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's word
        """Say nothing."""
