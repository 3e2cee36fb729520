"""What is remembered of processes, with events made by hand; the real kernel's are in test_processloop.py."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.agent import processes as module
from hids.agent.connector import EXEC, EXIT, FORK, GID, UID, ConnectorError, ProcessEvent
from hids.agent.processes import Processes
from hids.messages.syscheck import Who

SHELL = Who(pid=10, uid=0, effective_uid=0, gid=0, process="/bin/sh", command="sh", ppid=1)


class Kernel:
    """Tells what the test has written down."""

    def __init__(self) -> None:
        self.events: list[ProcessEvent] = []
        self.is_full = False
        self.there = {10: SHELL}
        self.looks: list[int] = []
        self.now_ns = 1 << 62  # long after this process began to listen

    def happens(self, what: int, pid: int, last: int = 0, real: int = 0) -> int:
        self.now_ns += 1000
        self.events.append(ProcessEvent(what, self.now_ns, pid, real, last))
        return self.now_ns

    def read(self) -> Iterator[ProcessEvent]:
        if self.is_full:
            raise ConnectorError("process connector: No buffer space available")
        events, self.events = self.events, []
        yield from events

    def look(self, pid: int, _at_ns: int) -> Who | None:
        self.looks.append(pid)
        return self.there.get(pid)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def processes(kernel: Kernel) -> Processes:
    return Processes(kernel, kernel.look)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def begin(kernel: Kernel, pid: int, program: str, ppid: int = 10) -> None:
    """A process is forked, and becomes another program."""
    kernel.happens(FORK, ppid, pid)
    kernel.there[pid] = Who(pid=pid, uid=1, process=program, command=program, ppid=ppid)
    kernel.happens(EXEC, pid)


def test_who_has_ended_is_remembered(kernel: Kernel, processes: Processes):
    since_ns = kernel.now_ns
    begin(kernel, 20, "/bin/cat")
    processes.hear()
    del kernel.there[20]
    kernel.happens(EXIT, 20)
    processes.hear()
    who = processes.recall(20, since_ns)
    assert who is not None
    assert (who.pid, who.process, who.uid, who.ppid, who.parent) == (20, "/bin/cat", 1, 10, "/bin/sh")
    assert processes.recall(21, since_ns) is None


def test_a_copy_is_as_its_parent_without_a_look(kernel: Kernel, processes: Processes):
    kernel.happens(FORK, 10, 20)
    kernel.happens(FORK, 20, 21)
    processes.hear()
    who = processes.recall(21, None)
    assert who is not None
    assert (who.pid, who.process, who.ppid, who.parent) == (21, "/bin/sh", 20, "/bin/sh")
    assert kernel.looks == [10]  # the one that began before us


def test_who_became_another_user_is_told_as_that(kernel: Kernel, processes: Processes):
    kernel.happens(FORK, 10, 20)
    kernel.happens(GID, 20, last=7, real=7)
    kernel.happens(UID, 20, last=8, real=7)
    processes.hear()
    who = processes.recall(20, None)
    assert who is not None
    assert (who.uid, who.effective_uid, who.gid) == (7, 8, 7)
    other = processes.recall(10, None)
    assert other is not None
    assert (other.uid, other.gid) == (0, 0), "a parent is not what its child became"


def test_who_was_looked_at_too_late_is_nobody(kernel: Kernel, processes: Processes):
    kernel.happens(FORK, 10, 20)
    kernel.happens(EXEC, 20)
    processes.hear()
    assert processes.recall(20, None) is None, "its parent's program is not its own any more"


def test_of_two_owners_of_a_number_none_is_named_unless_it_is_certain(kernel: Kernel, processes: Processes):
    since_ns = kernel.now_ns
    begin(kernel, 20, "/bin/first")
    ended_ns = kernel.happens(EXIT, 20)
    processes.hear()
    begin(kernel, 20, "/bin/second")
    processes.hear()
    assert processes.recall(20, since_ns) is None
    second = processes.recall(20, ended_ns)
    assert second is not None
    assert second.process == "/bin/second"
    assert processes.recall(20, None) == second, "who has it now"


def test_a_number_whose_former_owner_may_be_forgotten_is_nobody_s(
    kernel: Kernel, processes: Processes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_ENDED", 2)
    since_ns = kernel.now_ns
    begin(kernel, 20, "/bin/first")
    kernel.happens(EXIT, 20)
    for pid in (30, 31):
        begin(kernel, pid, "/bin/other")
        kernel.happens(EXIT, pid)
    begin(kernel, 20, "/bin/second")
    processes.hear()
    assert processes.recall(20, since_ns) is None
    assert processes.recall(20, kernel.now_ns) is not None


def test_when_events_are_lost_all_is_forgotten(kernel: Kernel, processes: Processes):
    begin(kernel, 20, "/bin/cat")
    processes.hear()
    kernel.is_full = True
    processes.hear()
    assert processes.lost == 1
    assert processes.recall(20, None) is None


def test_a_storm_is_looked_at_in_part(kernel: Kernel, processes: Processes):
    for pid in range(1000, 1000 + module.MAX_GLANCES + 500):
        begin(kernel, pid, "/bin/cat")
    processes.hear()
    assert len(kernel.looks) == module.MAX_GLANCES
    assert processes.recall(1000, None) is not None
    assert processes.recall(1000 + module.MAX_GLANCES + 400, None) is None
    kernel.now_ns += 1_000_000_000
    begin(kernel, 20, "/bin/cat")
    processes.hear()
    assert processes.recall(20, None) is not None


@given(
    st.lists(
        st.tuples(st.sampled_from([FORK, EXEC, EXIT, UID, GID]), st.integers(1, 40), st.integers(1, 40)), max_size=200
    )
)
def test_memory_is_bounded_and_nobody_is_taken_for_another(steps: list[tuple[int, int, int]]):
    """Where a number had several owners, none is named, whatever was forgotten meanwhile."""
    kernel = Kernel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LIVING", 16)
        patch.setattr(module, "MAX_ENDED", 8)
        processes = Processes(kernel, kernel.look)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        owners = dict.fromkeys(range(1, 41), 1)
        living = set(owners)
        since_ns = kernel.now_ns
        for what, pid, other in steps:
            if what == FORK:
                if other in living:
                    kernel.happens(EXIT, other)
                kernel.happens(FORK, pid, other)
                kernel.there[other] = Who(pid=other, process="/bin/x")
                owners[other] += 1
                living.add(other)
            elif pid in living:
                kernel.happens(what, pid, other)
                living -= {pid} if what == EXIT else set()
            processes.hear()
        assert len(processes._living) <= 16  # pyright: ignore[reportPrivateUsage]
        assert len(processes._ended) <= 8  # pyright: ignore[reportPrivateUsage]
        assert all(processes.recall(pid, since_ns) is None for pid, count in owners.items() if count > 1)
