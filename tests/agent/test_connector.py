"""The kernel's process events: their form, and what the real kernel tells."""

import itertools
import os
import select
import struct
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.agent.connector import (
    ACK,
    EXEC,
    EXIT,
    FORK,
    GID,
    UID,
    Connector,
    ConnectorError,
    ProcessEvent,
    parse,
    subscribe,
)
from tests.agent.conftest import wait_until


def packed(what: int, *numbers: int) -> bytes:
    return bytes(36) + struct.pack("=IIQ4I", what, 0, 77, *numbers) + bytes(8)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (packed(FORK, 10, 9, 12, 12), ProcessEvent(FORK, 77, 9, 12, 12)),
        (packed(EXEC, 12, 12, 0, 0), ProcessEvent(EXEC, 77, 12, 0, 0)),
        (packed(UID, 12, 12, 1000, 0), ProcessEvent(UID, 77, 12, 1000, 0)),
        (packed(GID, 12, 12, 1000, 4_000_000_000), ProcessEvent(GID, 77, 12, 1000, 4_000_000_000)),
        (packed(EXIT, 12, 12, 0, 17), ProcessEvent(EXIT, 77, 12, 0, 17)),
        (packed(ACK, 0, 0, 0, 0), ProcessEvent(ACK, 77, 0, 0, 0)),
        (packed(0x4000_0000, 1, 1, 0, 0), None),
        (packed(FORK, 1, 1, 2, 2)[:60], None),
    ],
)
def test_an_event_has_its_parts(data: bytes, event: ProcessEvent | None):
    assert parse(data) == event


@given(st.binary(max_size=128))
def test_anything_is_an_event_or_nothing(data: bytes):
    assert parse(data) is None or len(data) >= 68


@pytest.fixture
def connector():
    try:
        made = Connector(subscribe())
    except ConnectorError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_a_process_is_told_of_and_a_thread_is_not(connector: Connector):
    began_ns = time.monotonic_ns()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    process = subprocess.run([sys.executable, "-c", "import os; os.setresgid(7, 7, 7); os.setresuid(7, 8, 9); print(os.getpid())"],
                             capture_output=True, check=True, text=True)  # fmt: skip
    pid = int(process.stdout)
    events: list[ProcessEvent] = []

    def has_ended() -> bool:
        select.select([connector], [], [], 0.01)
        events.extend(event for event in connector.read() if event.pid == os.getpid() or pid in (event.pid, event.last))
        return any(event.what == EXIT and event.pid == pid for event in events)

    wait_until(has_ended)
    whats = [(event.what, event.real, event.last) for event in events if event.what not in (FORK, EXEC)]
    begun = [event.last for event in events if event.pid == os.getpid() and event.what == FORK]
    assert pid in begun
    assert thread.native_id not in begun
    assert whats[:2] == [(GID, 7, 7), (UID, 7, 8)]
    assert [event.pid for event in events if event.what == EXEC] == [pid]
    assert all(began_ns < event.at_ns < time.monotonic_ns() for event in events)


def test_what_is_lost_is_told(connector: Connector, monkeypatch: pytest.MonkeyPatch):
    """The kernel's own queue, made small, overflows."""
    monkeypatch.setattr("hids.agent.connector.QUEUE_BYTES", 4_096)
    small = Connector(subscribe())
    try:
        for _ in range(60):
            subprocess.run(["true"], check=True)  # noqa: S607
        with pytest.raises(ConnectorError, match="No buffer space"):
            list(itertools.chain.from_iterable(small.read() for _ in range(60)))
        assert list(connector.read())  # the other one has them all
    finally:
        small.close()
