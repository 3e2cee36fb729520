"""A line that ends a process of the manager: all others are evaluated, and it can be replayed when the cause is gone.

The sabotage comes from outside: a `sitecustomize.py` on the manager's path makes the worker's code kill its process at a
marked line, and the lane's find no memory for it, for as long as a file is there.
"""

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]

LINES = 3_010
SET_ASIDE = "206110"

SABOTAGE = """
import os, signal, sys

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def out_of_memory():
    raise MemoryError

def deadly(function, text_of, end):
    def wrapped(*arguments, **more):
        if b"POISON" in text_of(*arguments) and os.path.exists({switch!r}):
            end()
        return function(*arguments, **more)
    return wrapped

if "hids.workers.nursery" in sys.orig_argv and {victim!r} == "worker":
    from hids.core.rules.plan import Plan
    Plan.notice = deadly(Plan.notice, lambda self, line, *_: line.text, killed)
if "hids.workers.lane" in sys.orig_argv and {victim!r} == "lane":
    from hids.core.correlate.correlator import Correlator
    Correlator.decide = deadly(Correlator.decide, lambda self, table, residual, event, *_: event.text, out_of_memory)
"""


@pytest.mark.parametrize("victim", ["worker", "lane"])
def test_one_poison_line_among_many(stand: Stand, victim: str):
    switch, stand.before = stand.folder / "switch", stand.folder / "sabotage"
    stand.before.mkdir()
    (stand.before / "sitecustomize.py").write_text(SABOTAGE.format(switch=str(switch), victim=victim))
    switch.touch()
    log = stand.folder / "auth.log"
    with log.open("w") as file:
        for number in range(LINES):
            user = "POISON" if number == LINES // 3 else f"u{number}"
            file.write(
                failed_login(user, f"192.0.{number // 250}.{number % 250}") if number % 10 == 3 else filler(number)
            )
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.rules()[SET_ASIDE] == 1, "the dead letter is an alert")
    wait_for(lambda: stand.ask("agents")[0]["committed"] > LINES, "all lines are committed")

    (letter,) = stand.ctl("quarantine", "list")
    assert (letter["reason"], letter["source"], letter["location"]) == ("poison", "agent/001", str(log))
    assert "POISON" in letter["text"]
    assert stand.ctl("ledger", "verify")["balances"]
    (account,) = stand.ctl("ledger", "show", "--source", "agent/001")
    assert account["dropped"] == {"poison": 1}
    assert account["evaluated"] == account["delivered"] - 1 >= LINES - 1
    assert not told(stand)

    switch.unlink()
    assert stand.ctl("quarantine", "replay", str(letter["number"])) == {"numbers": [1], "state": "replayed"}
    wait_for(lambda: told(stand) == 1, "the replayed line is evaluated")
    assert stand.ctl("quarantine", "list") == []
    assert [row["state"] for row in stand.ctl("quarantine", "list", "--all")] == ["replayed"]
    wait_for(stand.whole, "the tree is whole")


def filler(number: int) -> str:
    return f"Nov 24 10:00:00 web1 CRON[{number}]: (root) CMD (command number {number})\n"


def told(stand: Stand) -> int:
    return sum("POISON" in alert["full_log"] for alert in stand.alerts())
