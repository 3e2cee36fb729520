"""The archive of all events, on real daemons: each line once, whatever is killed; found by time, agent and text."""

import json
import os
import signal
from collections import Counter

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

LINES = 4_000


def lines_in(stand: Stand) -> list[str]:
    answer = stand.run(
        "hids.cli.hidsctl",
        *("--state", str(stand.paths.lib), "archive", "search", "--agent", "web1", "--json", "--limit", "1000000"),
    ).stdout
    return [line for line in answer.splitlines() if "line number" in line]


def test_every_line_is_archived_once_whatever_is_killed(stand: Stand):
    log = stand.folder / "app.log"
    log.touch()
    stand.settings = "[archive]\nenabled = true\n[evidence]\nhead_s = 1.0\n"
    stand.start_manager()
    stand.join("web1")
    agent = f'[[source]]\npath = "{log}"\nfrom = "start"\n'
    stand.start_agent("web1", agent)
    with log.open("a") as file:
        for number in range(LINES):
            file.write(f"line number {number} of a program\n")
            if number % 1000 == 999:
                file.flush()
                victim = ("archive", "lane", "", "archive")[number // 1000]
                if victim:
                    os.kill(stand.pid_of(victim), signal.SIGKILL)
                elif stand.manager is not None:
                    stand.manager.kill()
                    stand.start_manager()
        file.write(failed_login("last"))
    wait_for(lambda: stand.rules()["201210"], "the last line has its alert")
    found = Counter(json.loads(line)["full_log"] for line in lines_in(stand))
    assert found == Counter(f"line number {number} of a program" for number in range(LINES))
    heads = stand.paths.evidence / "archive.heads"
    wait_for(lambda: heads.exists() and heads.stat().st_size, "a head is signed")
    verdict = stand.ctl("evidence", "verify")
    assert (verdict["problems"], verdict["records"] >= LINES) == ([], True)
