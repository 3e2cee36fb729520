"""The loop that answers who a process is or was; with a real socket pair, and the real kernel."""

import os
import socket
import threading

import msgspec
import pytest

from hids.agent import processloop
from hids.agent.connector import Connector, ConnectorError, subscribe
from hids.agent.processes import Processes
from hids.agent.processloop import MOST_BYTES, MOST_EVENTS, NAP_S, Proof, Prove, Recall, Storm, serve
from hids.messages.syscheck import MAX_PROCESS_TEXT, Who
from tests.agent.conftest import wait_until
from tests.waiting import SetClock


def test_it_answers_until_the_other_end_closes():
    try:
        connector = Connector(subscribe())
    except ConnectorError as error:
        pytest.skip(str(error))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=serve, args=(Processes(connector), theirs))
    thread.start()

    def ask(question: Recall | Prove) -> bytes:
        ours.send(msgspec.msgpack.encode(question))
        return ours.recv(MOST_BYTES)

    try:
        assert msgspec.msgpack.decode(ask(Prove()), type=Proof) == Proof(told=True, lost=0)
        assert msgspec.msgpack.decode(ask(Recall(4_000_000, None))) is None
        ready, go = os.pipe()
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", "read line"],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, ready, 0), (os.POSIX_SPAWN_CLOSE, go)],
        )
        wait_until(lambda: getattr(_who(ask(Recall(pid, None))), "command", "") == "sh -c read line")
        os.close(go)
        os.close(ready)
        os.waitpid(pid, 0)
        who = _who(ask(Recall(pid, None)))
        assert who is not None
        assert (who.pid, who.ppid) == (pid, os.getpid())
    finally:
        ours.close()
        thread.join(10)
        theirs.close()
        connector.close()
    assert not thread.is_alive()


def _who(answer: bytes) -> Who | None:
    return msgspec.msgpack.decode(answer, type=Who | None)


def test_the_longest_answer_has_room():
    text = "\U0010ffff" * MAX_PROCESS_TEXT
    who = Who(pid=1 << 31, process=text, command=text, cwd=text, parent=text)
    assert len(msgspec.msgpack.encode(who)) < MOST_BYTES


def test_a_storm_is_heard_in_strokes_until_it_is_over(monkeypatch: pytest.MonkeyPatch):
    clock = SetClock()
    naps: list[float] = []
    monkeypatch.setattr(processloop.time, "monotonic", clock.monotonic_s)
    monkeypatch.setattr(processloop.time, "sleep", naps.append)
    storm = Storm()
    storm.rest(1)
    clock.advance(0.05)
    storm.rest(MOST_EVENTS)
    assert naps == [], "it is not known yet"
    clock.advance(0.06)
    storm.rest(1)
    assert naps == [NAP_S]
    clock.advance(0.11)
    storm.rest(1)
    assert naps == [NAP_S], "it was quiet for a while"
    storm.rest(MOST_EVENTS)
    clock.advance(60)
    storm.rest(1)
    assert naps == [NAP_S], "what was long ago is no storm"
