"""Files that change, and agents that come and go, before OSSEC's and Wazuh's own rules."""

import os
from pathlib import Path

import pytest
from stand import Stand, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")
FILES = {
    "ossec": ("decoders/decoder.xml", "rules/rules_config.xml", "rules/ossec_rules.xml"),
    "wazuh": ("decoders/0200-ossec_decoders.xml", "rules/0010-rules_config.xml", "rules/0015-ossec_rules.xml"),
}


def stock(folder: Path, dialect: str) -> str:
    """A folder with the stock rules about the product itself; the `[[ruleset]]` for it."""
    if CONFORMANCE is None:
        pytest.skip("HIDS_CONFORMANCE does not name a folder with the rules of OSSEC and Wazuh")
    folder.mkdir()
    order = "".join(f"{Path(CONFORMANCE, dialect, file)}\n" for file in FILES[dialect])
    (folder / "order").write_text(order)
    return f'[[ruleset]]\npath = "{folder}"\ndialect = "{dialect}"\n'


def facts_of(stand: Stand) -> int:
    """What the store has seen; none before its process has told of itself."""
    return int(stand.nodes().get("syscheck_store", {}).get("facts", {}).get("facts", 0))


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_stock_rules_tell_of_changed_files_once(stand: Stand, dialect: str):
    watched = stand.folder / "watched"
    watched.mkdir()
    (watched / "kept").write_text("as it was\n")
    stand.settings = stock(stand.folder / "stock", dialect)
    stand.start_manager()
    stand.join("web1")
    daemon = stand.start_agent("web1", f'[syscheck]\ndirectories = ["{watched}"]\n')
    wait_for(lambda: facts_of(stand) >= 1, "the baseline is taken")
    wait_for(lambda: stand.rules()["501"], "the new agent is told")
    wait_for(lambda: stand.rules()["502"] == 1, "the manager's start is told")

    (watched / "new").write_text("x")
    (watched / "kept").write_text("changed\n")
    wait_for(lambda: {"550", "554"} <= set(stand.rules()), "added and modified alerts")
    (watched / "new").unlink()
    wait_for(lambda: stand.rules()["553"], "the deletion")

    about_files = [alert for alert in stand.alerts() if "syscheck" in alert]
    assert {alert["rule"]["id"] for alert in about_files} <= {"550", "553", "554"}
    changed = next(alert for alert in about_files if alert["rule"]["id"] == "550")
    assert changed["rule"]["level"] == 7
    assert "syscheck" in changed["rule"]["groups"]
    assert changed["decoder"] == {"name": "syscheck_integrity_changed"}
    assert changed["syscheck"]["path"] == str(watched / "kept")
    assert changed["agent"]["name"] == "web1"
    first = {"ossec": f"Integrity checksum changed for: '{watched}/kept'", "wazuh": f"File '{watched}/kept' modified"}
    assert changed["full_log"].splitlines()[0] == first[dialect]
    assert "data" not in changed

    again = {"ossec": ("551", "552"), "wazuh": ("550", "550")}[dialect]
    for text, rule in zip(("changed twice\n", "changed three times\n"), again, strict=True):
        before = stand.rules()[rule]
        (watched / "kept").write_text(text)
        wait_for(lambda rule=rule, before=before: stand.rules()[rule] == before + 1, f"{text.strip()} is rule {rule}")

    assert daemon.stop() == 0
    stand.start_agent("web1", "")
    wait_for(lambda: stand.rules()["503"], "an agent that was there before")
    assert stand.rules()["501"] == 1
    assert stand.rules()["506"] == (1 if dialect == "wazuh" else 0)
