"""A real service over HTTP, through apprise: what it takes is one message, and its secrets stay out of the log."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sample_alerts import alert
from waiting import SetClock

from hids.adapters.clock import SystemClock
from hids.adapters.outputs.notify import NotifyDestination
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Notify

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own business


class Service:
    """Takes messages as JSON."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.go_on.wait(30)
                if service.status == 200:
                    service.got.append(json.loads(body))
                self.send_response(service.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's word
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/secret-token-0123456789"

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def output(folder: Path, url: str, **more: Any) -> Notify:
    path = folder / "url"
    path.write_text(f"{url}\n")
    path.chmod(0o600)
    return Notify(url_file=str(path), **more)


def post(destination: NotifyDestination, *lines: bytes) -> None:
    async def main() -> None:
        await destination.post(Delivery(1, len(lines), lines))
        await destination.close()

    asyncio.run(main())


def test_a_delivery_is_one_message(tmp_path: Path, service: Service):
    post(
        NotifyDestination(output(tmp_path, service.url), SetClock()),
        *(alert(number, rule={"level": 5 + number % 8}) for number in range(1, 31)),
    )
    (message,) = service.got
    assert message["title"] == "hids: 30 alerts, highest level 12"
    assert message["type"] == "failure"
    lines = message["message"].splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("03:21:43 level 12 web1 sshd: a login with an unknown user name failed. srcip=192.0.2.7")
    assert lines[-1] == "and 20 more"


def test_nothing_in_it_is_a_link_or_a_mention(tmp_path: Path, service: Service):
    evil = "@everyone <!channel> [click](https://evil.example) `x` \x1b[31m\nline"
    post(NotifyDestination(output(tmp_path, service.url), SetClock()), alert(1, rule={"description": evil}))
    text = service.got[0]["message"]
    assert not any(active in text for active in ("@everyone", "<", "://", "](", "`", "\x1b", "\n"))


def test_a_refusal_is_told_without_the_secret(tmp_path: Path, service: Service):
    service.status = 403
    with pytest.raises(Refused) as refused:
        post(NotifyDestination(output(tmp_path, service.url), SetClock()), alert(1))
    assert "secret-token" not in str(refused.value)
    assert "403" in str(refused.value)


def test_one_that_hangs_is_given_up_and_no_second_try_runs_beside_it(tmp_path: Path, service: Service):
    service.go_on.clear()
    destination = NotifyDestination(output(tmp_path, service.url, timeout_s=0.1), SetClock())

    async def main() -> None:
        for why in ("no answer within 0.1 s", "the try before still hangs"):
            with pytest.raises(Refused, match=why):
                await destination.post(Delivery(1, 1, (alert(1),)))

    asyncio.run(main())


def test_messages_keep_their_distance(tmp_path: Path, service: Service):
    clock = SystemClock()
    destination = NotifyDestination(output(tmp_path, service.url, every_s=0.2), clock)

    async def main() -> None:
        await destination.post(Delivery(1, 1, (alert(1),)))
        first = clock.monotonic_s()
        await destination.post(Delivery(2, 2, (alert(2),)))
        assert clock.monotonic_s() - first >= 0.2

    asyncio.run(main())
    assert len(service.got) == 2


@pytest.mark.parametrize(
    ("url", "why"),
    [("pigeon://coop", "does not know such a URL"), ("", "expected one URL"), ("a b", "expected one URL")],
)
def test_a_url_that_is_none_is_named(tmp_path: Path, url: str, why: str):
    with pytest.raises(Refused, match=why):
        post(NotifyDestination(output(tmp_path, url), SetClock()), alert(1))


def test_a_file_that_others_may_read_is_refused(tmp_path: Path, service: Service):
    settings = output(tmp_path, service.url)
    Path(settings.url_file).chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        post(NotifyDestination(settings, SetClock()), alert(1))
