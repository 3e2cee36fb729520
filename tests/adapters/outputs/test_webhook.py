"""A real receiver over HTTP and HTTPS: whatever it does, it gets every alert, and may know again what it has."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from receiver import Receiver as Listener
from structlog.testing import capture_logs
from waiting import SetClock, until

from hids.actors.sender import Sender
from hids.actors.stage import Exited, Mailbox
from hids.adapters.ledger import Ledger
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.store import OutputStore
from hids.adapters.outputs.webhook import WebhookDestination
from hids.core.delivery import Cursor, Delivery, Refused
from hids.core.outputs import Webhook
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed
from hids.ports import Group

SECRET = b"a secret of thirty-two characters"


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener(SECRET)
    yield listener
    listener.close()


def alerts(first: int, count: int, level: int = 5) -> list[bytes]:
    return [
        json.dumps(
            {"id": f"007-1-{n}", "rule": {"id": "1", "level": level}, "full_log": f"log {n}", "hids": {"number": n}}
        ).encode()
        + b"\n"
        for n in range(first, first + count)
    ]


class Bench:
    """A ledger with alerts, and a sender that follows it."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        secret = folder / "secret"
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o600)
        self.folder = folder
        self.receiver = Webhook(name="siem", url=url, secret_file=str(secret), **{"batch": 4, "timeout_s": 0.5, **more})
        self.ledger = Ledger(folder / "ledger.db")
        self.next = 1
        self.exits: list[Exited] = []
        self.cursors: list[int] = []
        self.mailbox = Mailbox("webhook:siem")
        self.mailbox.on_exit = self.exits.append
        self.webhook = WebhookDestination(self.receiver, SetClock())

    @property
    def store(self) -> OutputStore:
        return OutputStore(self.folder, Outbox(self.folder / "ledger.db"), self.receiver, SetClock())

    def commit(self, count: int, level: int = 5) -> None:
        self.ledger.commit(Group(alerts=alerts(self.next, count, level)), self.next)
        self.next += count

    def start(self) -> None:
        Sender.start(self.mailbox, self.store, self.webhook, self._moved, first_pause_s=0.01, max_pause_s=0.05)
        self.mailbox.tell(Outboxed(self.next))

    def _moved(self, cursors: Cursors) -> None:
        self.cursors.append(cursors.positions["webhook:siem"])

    async def stop(self) -> None:
        before = len(self.exits)
        self.mailbox.shut_down()
        await until(lambda: len(self.exits) > before, "it stops")
        await self.webhook.close()


def run(bench: Bench, test: Callable[[], Any]) -> None:
    async def main() -> None:
        bench.start()
        await test()
        await bench.stop()

    asyncio.run(main())


def ids(count: int) -> set[str]:
    return {f"007-1-{number}" for number in range(1, count + 1)}


def test_all_alerts_come_once_in_batches_and_new_ones_follow(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    bench.commit(10)

    async def test() -> None:
        await until(lambda: bench.cursors[-1:] == [10], "all are taken")
        bench.commit(3)
        bench.mailbox.tell(Outboxed(bench.next))
        await until(lambda: bench.cursors[-1:] == [13], "the new ones too")

    run(bench, test)
    assert set(listener.seen) == ids(13)
    assert set(listener.seen.values()) == {1}
    assert listener.tries == ["1-4", "5-8", "9-10", "11-13"]
    assert (listener.forged, listener.changed) == (0, 0)
    assert bench.store.cursor() == Cursor(13)


def test_who_wants_incidents_gets_what_is_new_in_them(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url, send="incidents")
    lines = alerts(1, 6, 5)
    for place, news in ((1, "first"), (2, ""), (4, "agent")):
        alert = json.loads(lines[place])
        alert["hids"]["incident"] = {"id": "007-1-2", "key": {"srcip": "192.0.2.7"}, "news": news}
        lines[place] = json.dumps(alert, separators=(",", ":")).encode() + b"\n"
    bench.ledger.commit(Group(alerts=lines), 1)
    bench.next = 7

    async def test() -> None:
        await until(lambda: bench.cursors[-1:] == [6], "all are looked at")

    run(bench, test)
    assert set(listener.seen) == {"007-1-2", "007-1-5"}


@pytest.mark.parametrize("mood", ["failing", "hanging", "dying"])
def test_a_receiver_that_misbehaves_gets_all_of_it_later(tmp_path: Path, listener: Listener, mood: Any):
    bench = Bench(tmp_path, listener.url, timeout_s=0.1)
    bench.commit(6)
    listener.mood = mood

    async def test() -> None:
        await until(lambda: bench.mailbox.facts()["tries"] >= 3, "it is tried again")
        assert bench.mailbox.facts()["failing"]
        assert bench.cursors == [0]
        listener.mood = "well"
        await until(lambda: bench.cursors[-1:] == [6], "all are taken")
        assert bench.mailbox.facts()["failing"] == ""

    run(bench, test)
    assert set(listener.seen) == ids(6)
    assert listener.changed == 0
    if mood == "dying":
        assert listener.seen["007-1-1"] >= 3
        assert set(listener.tries) == {"1-4", "5-6"}


def test_a_receiver_that_is_not_there_gets_all_of_it_when_it_comes(tmp_path: Path):
    gone = Listener(SECRET)
    gone.close()
    bench = Bench(tmp_path, gone.url)
    bench.commit(6)
    back: list[Listener] = []

    async def test() -> None:
        await until(lambda: bench.mailbox.facts()["tries"] >= 3, "it is tried again")
        back.append(Listener(SECRET, port=gone.port))
        await until(lambda: bench.cursors[-1:] == [6], "all are taken")

    run(bench, test)
    back[0].close()
    assert set(back[0].seen) == ids(6)


def test_a_try_is_repeated_as_it_was_by_the_next_life(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    bench.commit(2)
    listener.mood = "dying"

    async def test() -> None:
        await until(lambda: listener.tries, "it is tried")
        await bench.stop()
        bench.commit(5)
        listener.mood = "well"
        bench.start()
        await until(lambda: bench.cursors[-1:] == [7], "all are taken")

    run(bench, test)
    assert list(dict.fromkeys(listener.tries)) == ["1-2", "3-6", "7-7"]
    assert (set(listener.seen), listener.changed) == (ids(7), 0)


def test_only_alerts_of_the_wanted_level_are_sent_and_the_cursor_passes_the_others(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url, level=7)
    bench.commit(3, level=3)
    bench.commit(2, level=7)
    bench.commit(9, level=3)

    async def test() -> None:
        await until(lambda: bench.cursors[-1:] == [14], "all are passed")

    run(bench, test)
    assert set(listener.seen) == {"007-1-4", "007-1-5"}
    assert len(listener.tries) == 1


def test_a_ledger_that_is_older_than_what_was_sent_goes_on_with_what_is_new(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    bench.store.save(Cursor(100, 105))
    bench.commit(3)

    async def test() -> None:
        await until(lambda: bench.cursors[-1:] == [3], "it knows where it is")
        bench.commit(1)
        bench.mailbox.tell(Outboxed(bench.next))
        await until(lambda: bench.cursors[-1:] == [4], "the new one is taken")

    run(bench, test)
    assert set(listener.seen) == {"007-1-4"}


def test_a_life_that_main_tells_an_old_number_repeats_nothing(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    bench.commit(8)
    bench.store.save(Cursor(8))
    bench.next = 4

    async def test() -> None:
        await until(lambda: bench.cursors[-1:] == [8], "it knows where it is")

    run(bench, test)
    assert not listener.tries


def test_alerts_that_the_outbox_dropped_are_named_and_the_rest_goes_on(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    bench.store.save(Cursor(1))
    for _ in range(3):
        bench.commit(2)
    bench.ledger.trim_outbox(0, 10**15)
    bench.commit(2)

    async def test() -> None:
        with capture_logs() as said:
            await until(lambda: bench.cursors[-1:] == [8], "the rest is taken")
        (gone,) = (line for line in said if "gone from the outbox" in line["event"])
        assert (gone["first"], gone["last"]) == (2, 6)

    run(bench, test)
    assert set(listener.seen) == {"007-1-7", "007-1-8"}


def test_a_damaged_cursor_is_named(tmp_path: Path, listener: Listener):
    bench = Bench(tmp_path, listener.url)
    (tmp_path / "webhook-siem.cursor").write_bytes(b"{")
    with pytest.raises(StoreError, match="remove it, and the receiver gets again"):
        bench.store.cursor()
    bench.ledger.close()


@pytest.mark.parametrize("words", [None, b"", b"  \n"])
def test_without_its_secret_nothing_is_sent(tmp_path: Path, listener: Listener, words: bytes | None):
    bench = Bench(tmp_path, listener.url)
    secret = Path(bench.receiver.secret_file)
    secret.unlink() if words is None else secret.write_bytes(words)

    async def test() -> None:
        with pytest.raises(Refused, match="expected the secret that signs requests"):
            await bench.webhook.post(Delivery(1, 1, tuple(alerts(1, 1))))
        await bench.webhook.close()

    asyncio.run(test())
    assert not listener.tries


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_receiver_must_show_a_certificate_that_is_trusted(tmp_path: Path, trusted: bool):  # noqa: FBT001
    pem = certificate(tmp_path)
    listener = Listener(SECRET, certificate=pem)
    bench = Bench(tmp_path, listener.url, ca_file=str(pem) if trusted else "", timeout_s=5.0)
    bench.commit(2)

    async def test() -> None:
        if trusted:
            await until(lambda: bench.cursors[-1:] == [2], "all are taken")
        else:
            await until(lambda: "certificate" in str(bench.mailbox.facts()["failing"]).lower(), "it is refused")

    run(bench, test)
    listener.close()
    assert set(listener.seen) == (ids(2) if trusted else set())
