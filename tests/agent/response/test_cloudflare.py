"""Cloudflare, on a server of our own that speaks as theirs."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hids.agent.response.cloud import Cloudflare
from hids.agent.response.program import ActionFailed
from hids.core.collect.config import CloudflareConfig
from hids.messages.response import ResponseOrder

ORDER = ResponseOrder(id="x", agent="001", response="r", command="c", action="a", address="192.0.2.7")


class Edge(ThreadingHTTPServer):
    """Keeps rules."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rules: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.says: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Edge

    def do_GET(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query)["configuration.value"][0]
        found = [rule for rule in self.server.rules.values() if rule["configuration"]["value"] == wanted]
        self._answer({"success": True, "result": found})

    def do_POST(self) -> None:
        rule = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        id_ = f"rule-{len(self.server.requests)}"
        self.server.rules[id_] = rule | {"id": id_}
        self._answer({"success": True, "result": {"id": id_}})

    def do_DELETE(self) -> None:
        self.server.rules.pop(self.path.rpartition("/")[2])
        self._answer({"success": True, "result": {}})

    def _answer(self, body: dict[str, Any]) -> None:
        self.server.requests.append((self.command, self.headers["Authorization"]))
        status, data = self.server.says or (200, json.dumps(body).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def edge() -> Iterator[Edge]:
    with Edge() as edge:
        thread = threading.Thread(target=edge.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield edge
        edge.shutdown()
        thread.join()


@pytest.fixture
def action(edge: Edge, tmp_path: Path) -> Cloudflare:
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    return Cloudflare(CloudflareConfig(zone="z/1", token_file=str(token), url=edge.url), 5)


def test_a_rule_comes_and_goes(edge: Edge, action: Cloudflare):
    for _ in range(2):
        asyncio.run(action.add(ORDER, 60))
    (rule,) = edge.rules.values()
    assert (rule["mode"], rule["configuration"]) == ("block", {"target": "ip", "value": "192.0.2.7"})
    assert {token for _, token in edge.requests} == {"Bearer secret"}
    for _ in range(2):
        asyncio.run(action.delete(ORDER))
    assert not edge.rules


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ((403, b"no"), "answers 403"),
        ((200, b"{}"), "refuses"),
        ((200, b"<html>"), "Cloudflare: "),
        ((200, b'{"success": false, "errors": ["bad zone"]}'), "bad zone"),
    ],
)
def test_what_it_says_otherwise_is_told(edge: Edge, action: Cloudflare, says: tuple[int, bytes], complaint: str):
    edge.says = says
    with pytest.raises(ActionFailed, match=complaint):
        asyncio.run(action.add(ORDER, 60))


def test_the_token_must_be_secret_and_the_way_to_it_too(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o644)
    with pytest.raises(ActionFailed, match="others may open it"):
        asyncio.run(
            Cloudflare(CloudflareConfig(zone="z", token_file=str(token), url="http://127.0.0.1:9"), 5).add(ORDER, 0)
        )
    with pytest.raises(ActionFailed, match="expected https"):
        asyncio.run(Cloudflare(CloudflareConfig(zone="z", token_file=str(token), url="ftp://x"), 5).add(ORDER, 0))
