"""Budgets of scans."""

import os
import threading

import psutil

from hids.agent.pace import Pace, set_priority


def test_more_than_the_budget_is_rested_for():
    rests: list[float] = []

    class Enough(Exception):  # noqa: N818
        pass

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            raise Enough

    pace = Pace(1000, rest)
    try:
        pace.pay(5000)
    except Enough:
        pass
    else:
        raise AssertionError("nothing was rested for")
    assert all(0 < seconds <= 1.0 for seconds in rests)


def test_without_a_limit_there_is_no_rest():
    Pace(0, lambda _seconds: (_ for _ in ()).throw(AssertionError("rested"))).pay(1 << 40)


def test_priorities_are_the_thread_s_own():
    found: list[tuple[int, object]] = []

    def work() -> None:
        set_priority(5, "idle")
        thread = threading.get_native_id()
        found.append((os.getpriority(os.PRIO_PROCESS, thread), psutil.Process(thread).ionice().ioclass))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before + 5 if before else 5, psutil.IOPRIO_CLASS_IDLE)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    set_priority(0, "normal")
