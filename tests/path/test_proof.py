"""What a person does to be sure: verify the ledger, look at the figures, let chaos loose."""

import json
import sqlite3
from contextlib import closing

import pytest
from receiver import Receiver
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]


def test_to_be_sure(stand: Stand):
    receiver = Receiver(b"words")
    secret = stand.folder / "secret"
    secret.write_bytes(b"words")
    secret.chmod(0o600)
    stand.settings = (
        f'[workers]\ncount = 1\n[[output]]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret_file = "{secret}"\n'
    )
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    with log.open("a") as file:
        file.writelines(failed_login(f"u{number}", f"192.0.2.{number}") for number in range(100))
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= 100, "all lines are committed")

    state = ("--state", str(stand.paths.lib))
    report = json.loads(
        stand.run("hids.cli.hidsctl", *state, "chaos", "--faults", "3", "--every", "0.5", "--yes", "--json").stdout
    )
    assert (report["faults"], report["lost"], report["balances"], report["failure"]) == (3, 0, True, "")
    assert sum(kind["times"] for kind in report["recovery_s"].values()) == 3

    wait_for(lambda: len(stand.alerts()) >= 100, "all alerts are written")
    wait_for(lambda: {alert["id"] for alert in stand.alerts()} <= set(receiver.seen), "the webhook has all")
    assert receiver.forged == 0
    receiver.close()

    figures = {(row["name"], *row["labels"].values()): row["value"] for row in stand.ctl("metrics")}
    assert figures["hids_lines_total", "agent/001", "evaluated", ""] >= 100
    assert figures["hids_ledger_gaps",] == 0
    assert figures["hids_actor_running", "lane"] == 1
    rows = stand.ctl("ledger", "show", "--hours", "--since", "2h", "--source", "agent/001")
    assert sum(row["delivered"] for row in rows) == sum(row["evaluated"] for row in rows) >= 100

    # What somebody removes from the database shows, with the manager or without it.
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    with closing(sqlite3.connect(stand.paths.ledger)) as db, db:
        db.execute("UPDATE stretch SET last = last - 7 WHERE source = 'agent/001'")
    with pytest.raises(AssertionError, match="status 1") as shown:
        stand.run("hids.cli.hidsctl", *state, "ledger", "verify")
    assert "lines were delivered" in str(shown.value)
    assert "does not balance" in str(shown.value)
