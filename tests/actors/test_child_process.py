"""A process as a child: its end is the actor's failure with the reason, a hung one is killed, a stop is waited for."""

import asyncio
import os
import signal
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import SetClock, settle, until

from hids.actors.child_process import Check, ChildProcess, Deadline
from hids.actors.stage import Exited, Mailbox
from hids.adapters.channel import open_channel
from hids.adapters.process import Launched, ended, launch
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.supervision import Pulse

CHILD = """
import argparse, socket, sys
import msgspec
from hids.core.wire.frames import FrameReader, frame
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.supervision import NodeFacts, Pulse

parser = argparse.ArgumentParser()
parser.add_argument("--channel-fd", type=int)
parser.add_argument("--parent", type=int)
sock = socket.socket(fileno=parser.parse_args().channel_fd)
reader = FrameReader()


def send(message):
    sock.sendall(frame(msgspec.msgpack.encode(message)))


send(Pulse((NodeFacts("inside", "part", "running"),)))
while data := sock.recv(65536):
    for payload in reader.feed(data):
        number = msgspec.msgpack.decode(payload, type=Outboxed).next
        if number == 99:
            sys.exit(7)
        send(Cursors({"echo": number}))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "echo_child.py").write_text(textwrap.dedent(CHILD))
    root = os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2])))
    monkeypatch.setenv("PYTHONPATH", root)
    return "echo_child"


class Bench:
    """A child process whose clock is ours."""

    def __init__(self, module: str) -> None:
        self.clock = SetClock()
        self.got: list[int] = []
        self.exits: list[Exited] = []
        self.processes: list[Launched] = []
        self._module = module
        self.mailbox = Mailbox("echo")
        self.mailbox.on_exit = self.exits.append
        self.start()

    def start(self) -> None:
        ChildProcess.start(
            self.mailbox,
            self._launch,
            self._connect,
            self._receive,
            ended,
            self.clock,
            pulse_limit_s=10,
        )

    def _launch(self) -> Launched:
        self.processes.append(launch(self._module, ()))
        return self.processes[-1]

    @staticmethod
    def _connect(launched: Any, got: Callable[[Any], None], closed: Callable[[], None]) -> Any:
        return open_channel(launched.sock, Cursors | Pulse, got, closed)

    def _receive(self, message: Cursors) -> None:
        self.got.append(message.positions["echo"])

    async def alive(self) -> None:
        await until(lambda: self.mailbox.inside, "its pulse comes")


def run(module: str, test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        bench = Bench(module)
        try:
            await test(bench)
        finally:
            for process in bench.processes:
                process.kill()
                await until(partial(lambda process: process.status() is not None, process), "nothing is left")

    asyncio.run(main())


def test_messages_go_through_even_those_sent_while_it_starts(module: str):
    async def test(bench: Bench) -> None:
        for number in range(20):
            bench.mailbox.tell(Outboxed(number))
        await until(lambda: bench.got == list(range(20)), "all come back")
        await bench.alive()
        assert [node.name for node in bench.mailbox.inside] == ["inside"]
        assert bench.mailbox.facts() == {"pid": bench.processes[0].pid}

    run(module, test)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("exit", "ProcessDied: exited with status 7"), ("kill", "ProcessDied: killed by SIGKILL")],
)
def test_its_end_is_a_failure_with_its_reason(module: str, how: str, reason: str):
    async def test(bench: Bench) -> None:
        await bench.alive()
        if how == "exit":
            bench.mailbox.tell(Outboxed(99))
        else:
            os.kill(bench.processes[0].pid, signal.SIGKILL)
        await until(lambda: bench.exits, "it is noticed")
        assert [exited.failure for exited in bench.exits] == [reason]
        bench.start()
        bench.mailbox.tell(Outboxed(5))
        await until(lambda: bench.got == [5], "the next one works")
        await settle(200)
        assert bench.processes[1].status() is None

    run(module, test)


def test_a_stop_is_the_end_of_its_channel(module: str):
    async def test(bench: Bench) -> None:
        await bench.alive()
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None
        assert bench.processes[0].status() == 0

    run(module, test)


def test_a_stop_right_after_the_start_works_too(module: str):
    async def test(bench: Bench) -> None:
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None

    run(module, test)


def test_a_process_without_a_pulse_is_killed(module: str):
    async def test(bench: Bench) -> None:
        await bench.alive()
        os.kill(bench.processes[0].pid, signal.SIGSTOP)
        for _ in range(10):
            bench.clock.advance(1)
            bench.mailbox.tell_life(1, Check())
            await settle()
        assert bench.exits == []
        bench.clock.advance(1)
        bench.mailbox.tell_life(1, Check())
        await until(lambda: bench.exits, "it is killed")
        assert bench.exits[0].failure == "ProcessDied: killed by SIGKILL"

    run(module, test)


def test_a_failure_of_ours_leaves_no_process_and_does_not_touch_the_next(module: str):
    async def test(bench: Bench) -> None:
        await bench.alive()
        bench.mailbox.tell(Outboxed(10**30))  # cannot be packed
        await until(lambda: bench.exits, "the actor fails")
        await until(lambda: bench.processes[0].status() is not None, "its process is ended")
        bench.start()
        await settle(300)
        bench.mailbox.tell(Outboxed(5))
        await until(lambda: bench.got == [5], "the next one works")
        assert len(bench.exits) == 1

    run(module, test)


def test_a_deadline_counts_only_time_in_which_we_ran_ourselves():
    clock = SetClock()
    deadline = Deadline(clock, limit_s=5, tick_s=1)
    for _ in range(4):
        clock.advance(1)
        assert not deadline.missed()
    clock.advance(100)
    assert not deadline.missed()
    clock.advance(1)
    assert deadline.missed()
    deadline.renew()
    assert not deadline.missed()
