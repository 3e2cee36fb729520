"""What becomes of what is written, on real daemons: put away, packed, removed, sealed, anchored, reported, measured."""

import os
import signal
import urllib.request
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

from hids.adapters.archive import lines_of
from hids.adapters.outbox import alert_number

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

LINES = 6_000


def test_alert_files_are_kept_as_configured_and_each_change_is_found(stand: Stand):
    log, vault = stand.folder / "auth.log", stand.folder / "vault"
    log.touch()
    stand.settings = (
        f'[retention]\nrotate_mib = 1\n[evidence]\nhead_s = 1.0\nanchor_s = 1.0\nanchor_file = "{vault}"\n'
        '[metrics]\nlisten = "127.0.0.1:0"\n[[report]]\ntitle = "Everything"\nformat = "text"\n'
    )
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    killed = 0
    with log.open("a") as file:
        for number in range(LINES):
            file.write(failed_login(f"user{number}", f"192.0.2.{number % 250}"))
            if number % 2000 == 1999:
                file.flush()
                os.kill(stand.pid_of("outputs"), signal.SIGKILL)
                killed = stand.pid_of("outputs", killed)
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= LINES, "all lines are committed")
    newest = wait_for(lambda: fact(stand, "ledger", "next_alert"), "the ledger tells") - 1
    path = stand.paths.alerts / "alerts.json"
    wait_for(lambda: fact(stand, "alerts.json", "written") >= newest, "all alerts are written")
    numbers = [alert_number(line) for line in lines_of(path)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= newest
    packed = wait_for(lambda: list(stand.paths.alerts.glob("*/*/ossec-alerts-*.json.gz")), "older files are packed")
    wait_for(lambda: anchored(stand, vault), "all is anchored")

    assert stand.ctl("report", "--by", "agent")["alerts"] >= newest
    (report,) = stand.paths.reports.glob("*-daily-everything.txt")
    assert report.read_text().startswith("Report 'Everything, ")
    with urllib.request.urlopen(f"http://127.0.0.1:{stand.ports['metrics']}/metrics") as answer:
        figures = answer.read().decode()
    assert 'hids_lines_total{source="agent/001",outcome="evaluated",reason=""}' in figures
    assert 'hids_actor_fact{actor="correlation_window",fact="windows"}' in figures
    assert 'hids_rule_fired_total{ruleset="hids",rule="201210"}' in figures

    victim = stand.paths.alerts / "alerts.log"
    with log.open("a") as file:
        file.write(failed_login("mallory"))
    wait_for(lambda: b"mallory" in victim.read_bytes() and sealed(victim), "one more is written and sealed")
    content = victim.read_bytes()
    place = content.index(b"mallory")
    victim.write_bytes(content[:place] + b"M" + content[place + 1 :])
    answer = stand.ctl("evidence", "verify", "--anchor", str(vault), status=1)
    block = content.rindex(b"** Alert", 0, place)
    assert [problem["line"] for problem in answer["problems"]] == [content[:block].count(b"\n") + 1]
    victim.write_bytes(content)
    packed[0].unlink()
    answer = stand.ctl("evidence", "verify", status=1)
    assert "the file is gone" in answer["problems"][0]["what"]


def fact(stand: Stand, node: str, name: str) -> int:
    """A figure of status; 0 while the process that has it was only just started."""
    return int(stand.nodes().get(node, {"facts": {}})["facts"].get(name, 0))


def anchored(stand: Stand, vault: Path) -> bool:
    answer = stand.ctl("evidence", "verify", "--anchor", str(vault)) if vault.exists() else {}
    return bool(answer) and answer["anchored"] >= answer["seals"] and answer["as_written"]


def sealed(path: Path) -> bool:
    return b'"end":%d,' % path.stat().st_size in path.with_name(f"{path.name}.chain").read_bytes()
