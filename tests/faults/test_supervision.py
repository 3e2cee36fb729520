"""What goes wrong inside the manager is noticed within its bound, escalates in order, and is told.

The sabotage comes from outside, in a `sitecustomize.py` on the manager's path.
"""

import contextlib
import subprocess
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

from hids.errors import HidsError

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]

ENDED = "206125"
EX_SOFTWARE = 70

COMMON = """
import os, sys
def armed(): return os.path.exists({switch!r})
MAIN = "hids.cli.manager" in sys.orig_argv
"""

HANGING_LOOP = """
if MAIN:
    import time
    import hids.manager.run as run
    run.HUNG_S = 1
    from hids.actors.monitor import Monitor
    receive = Monitor.on_receive
    def hang(self, message):
        while armed(): time.sleep(0.1)
        receive(self, message)
    Monitor.on_receive = hang
"""

HANGING_THREAD = """
if MAIN:
    import time
    import hids.manager.run as run
    run.HUNG_S = 1
    from hids.actors.registrar import Registrar
    receive = Registrar.on_receive
    def hang(self, message):
        while armed(): time.sleep(0.1)
        return receive(self, message)
    Registrar.on_receive = hang
"""

FAILING_IN_START = """
if MAIN:
    import hids.actors.supervisor as supervisor
    class Quick(supervisor.Intensity, frozen=True, kw_only=True):
        max_backoff_s: float = 0.2
        in_a_row: int = 5
    supervisor.Intensity = Quick
    import hids.manager.topology as topology
    topology.Intensity = Quick
    from hids.actors.session_listener import SessionListener
    make = SessionListener.__init__
    def fail(self, *arguments, **more):
        if armed(): raise RuntimeError("sabotage")
        make(self, *arguments, **more)
    SessionListener.__init__ = fail
"""

LEAKING_WORKER = """
if "hids.workers.nursery" in sys.orig_argv:
    from hids.actors.decoder import Decoder
    receive = Decoder.on_receive
    def leak(self, message):
        if armed():
            self.__dict__.setdefault("hoard", []).append(bytearray(os.urandom(1 << 20)) * 700)
            os.unlink({switch!r})
        receive(self, message)
    Decoder.on_receive = leak
"""


def sabotage(stand: Stand, code: str) -> Path:
    """Put the code before the manager's; it acts while the file that is returned exists."""
    switch, stand.before = stand.folder / "switch", stand.folder / "sabotage"
    stand.before.mkdir()
    (stand.before / "sitecustomize.py").write_text((COMMON + code).format(switch=str(switch)))
    return switch


def end_of(stand: Stand) -> int:
    """The exit status of the manager, which ends by itself."""
    assert stand.manager is not None
    try:
        return stand.manager.process.wait(100)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it does not end:\n{stand.manager.output()}")


@pytest.mark.parametrize("code", [HANGING_LOOP, HANGING_THREAD], ids=["loop", "thread"])
def test_what_hangs_in_main_ends_it_and_the_next_life_tells(stand: Stand, code: str):
    switch = sabotage(stand, code)
    stand.start_manager()
    switch.touch()
    if code is HANGING_THREAD:
        with pytest.raises(HidsError):  # nobody answers; the thread has the question
            stand.ask("agents")
    assert end_of(stand) == EX_SOFTWARE
    switch.unlink()
    stand.start_manager()
    told = wait_for(lambda: ends(stand), "its end is an alert")
    assert told == ["manager ended: without a word, killed or crashed"]
    wait_for(stand.whole, "the tree is whole")


def test_a_storm_of_restarts_escalates_in_order_and_ends_with_a_status(stand: Stand):
    switch = sabotage(stand, FAILING_IN_START)
    switch.touch()
    with contextlib.suppress(AssertionError):  # it may end before it listens
        stand.start_manager()
    assert end_of(stand) == EX_SOFTWARE
    assert stand.manager is not None
    said = stand.manager.output()
    branch, root = said.index('"supervisor": "engine"'), said.index('"supervisor": "root"')
    assert branch < root < said.index("the tree cannot be kept alive")
    switch.unlink()
    stand.start_manager()
    last = wait_for(lambda: ends(stand), "its end is an alert")[0]
    assert last.startswith("manager ended: it gave up: GaveUp: engine failed 3 times")
    assert "session_port failed 6 times" in last
    assert "RuntimeError: sabotage" in last


def ends(stand: Stand) -> list[str]:
    """What is told about the manager's own ends; supervisors inside that gave up are others."""
    logs = (alert["full_log"] for alert in stand.alerts() if alert["rule"]["id"] == ENDED)
    return [log for log in logs if log.startswith("manager ended: ")]


def test_a_worker_that_leaks_is_replaced_and_nothing_is_lost(stand: Stand):
    switch = sabotage(stand, LEAKING_WORKER)
    stand.settings = "[workers]\ncount = 1\n[limits]\nprocess_mib = 600\n"
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    switch.touch()
    with log.open("a") as file:
        file.writelines(failed_login(f"u{number}", f"192.0.2.{number}") for number in range(200))
    wait_for(lambda: stand.rules()["206126"], "the leak is an alert")
    wait_for(lambda: len([a for a in stand.alerts() if "Failed password" in a["full_log"]]) >= 200, "every alert")
    logs = [alert["full_log"] for alert in stand.alerts() if "Failed password" in alert["full_log"]]
    assert len(logs) == len(set(logs)) == 200
    node = stand.nodes()["worker-1"]
    assert (node["restarts"], "SIGKILL" in node["last_failure"]) == (1, True)
