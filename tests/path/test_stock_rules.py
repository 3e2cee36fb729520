"""Files that change, and agents that come and go, before OSSEC's and Wazuh's own rules."""

import json
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from old_peers import OldAgent, enrol, old_agent
from stand import Stand, wait_for

from hids.core.wire.ossec.cipher import Method
from hids.core.wire.ossec.keys import parse_key

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
    nmap = stand.folder / "nmap.log"
    nmap.touch()
    watched = stand.folder / "watched"
    watched.mkdir()
    (watched / "kept").write_text("as it was\n")
    stand.settings = stock(stand.folder / "stock", dialect)
    stand.start_manager()
    stand.join("web1")
    daemon = stand.start_agent(
        "web1", f'[[source]]\npath = "{nmap}"\nformat = "nmapg"\n[syscheck]\ndirectories = ["{watched}"]\n'
    )
    wait_for(lambda: facts_of(stand) >= 1, "the baseline is taken")
    wait_for(lambda: stand.rules()["501"], "the new agent is told")
    wait_for(lambda: stand.rules()["502"] == 1, "the manager's start is told")

    for ports, rule in (("22/open/tcp//ssh///", "581"), ("22/open/tcp//ssh///, 80/open/tcp//http///", "580")):
        with nmap.open("a") as file:
            file.write(f"Host: 192.0.2.1 (web1)\tPorts: {ports}\n" * 2)
        wait_for(lambda rule=rule: stand.rules()[rule], f"{rule} tells of ports")
    (watched / "new").write_text("x")
    (watched / "kept").write_text("changed\n")
    wait_for(lambda: {"550", "554"} <= set(stand.rules()), "added and modified alerts")
    (watched / "new").unlink()
    wait_for(lambda: stand.rules()["553"], "the deletion")

    assert (stand.rules()["580"], stand.rules()["581"]) == (1, 1), "what is as it was is no news"
    about_files = [
        alert for alert in stand.alerts() if "syscheck" in alert and alert["rule"]["id"] not in {"580", "581"}
    ]
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


def fim(kind: str, path: str, **data: Any) -> bytes:
    """An event of Wazuh's FIM."""
    attributes = {"type": "file", "size": 2, "perm": "rw-r--r--", "uid": "0", "gid": "0", "checksum": "c" * 40}
    attributes |= data.pop("attributes", {})
    event = {"path": path, "version": 2, "mode": "realtime", "type": kind, "timestamp": 1, "attributes": attributes}
    return b"8:syscheck:" + json.dumps({"type": "event", "data": event | data}).encode()


def dbsync(type_: str, **data: Any) -> bytes:
    """A message of its synchronisation."""
    return b"5:fim_file:" + json.dumps({"component": "fim_file", "type": type_, "data": {"id": 17, **data}}).encode()


def test_files_of_a_wazuh_agent_before_wazuhs_rules(stand: Stand):
    (stand.folder / "password").write_text("long secret\n")
    legacy = f'[legacy]\nenabled = true\nudp = "127.0.0.1:0"\npassword_file = "{stand.folder}/password"\n'
    stand.settings = stock(stand.folder / "stock", "wazuh") + legacy
    stand.start_manager()
    answer = enrol(stand.ports["join"], b"OSSEC PASS: long secret OSSEC A:'wz1' V:'v4.14.7'\n", ssl.TLSVersion.TLSv1_3)
    key = parse_key(answer.decode().split("'")[1])
    with old_agent(key, stand.ports["agents"], Method.WAZUH_AES, tcp=True) as agent:
        agent.start()
        tell_of_files(agent)
        wait_for(lambda: {"550", "553", "554"} <= set(stand.rules()), "all three kinds of news")
    alerts = {alert["rule"]["id"]: alert for alert in stand.alerts() if "syscheck" in alert}
    assert len([alert for alert in stand.alerts() if "syscheck" in alert]) == 3, "what was synchronised is no news"
    changed = alerts["550"]["syscheck"]
    assert changed["path"] == "/etc/known"
    assert changed["changed_attributes"] == ["size", "sha256"]
    assert (changed["size_before"], changed["size_after"]) == ("2", "3")
    assert changed["audit"]["user"] == {"id": "1000", "name": "joe"}
    assert alerts["550"]["full_log"].splitlines()[0] == "File '/etc/known' modified"
    assert alerts["554"]["syscheck"]["path"] == "/etc/new"
    assert alerts["553"]["syscheck"]["path"] == "/etc/new"
    assert alerts["553"]["agent"]["name"] == "wz1"
    (known,) = stand.ctl("syscheck", "show", "/etc/known", "--agent", "wz1")
    assert known["sha256"] == "2" * 64
    stand.ctl("syscheck", "show", "/etc/new", "--agent", "wz1", status=1)


def tell_of_files(agent: OldAgent) -> None:
    """Synchronise one file, then change it, make another and remove that."""
    agent.send(dbsync("integrity_check_global", begin="/etc/known", end="/etc/known", checksum="a" * 40))
    assert agent.receive() == b'#!-fim_file dbsync no_data {"begin":"/etc/known","end":"/etc/known","id":17}'
    there = {"type": "file", "size": 2, "perm": "rw-r--r--", "hash_sha256": "1" * 64, "checksum": "b" * 40}
    agent.send(dbsync("state", index="/etc/known", timestamp=1, attributes=there))
    agent.send(b'd:syscollector:{"type":"dbsync_packages","operation":"INSERTED","data":{}}')
    agent.send(b'5:syscollector:{"component":"syscollector_packages","type":"integrity_clear","data":{"id":1}}')
    agent.send(
        fim(
            "modified",
            "/etc/known",
            attributes={"size": 3, "hash_sha256": "2" * 64},
            old_attributes={"size": 2, "hash_sha256": "1" * 64},
            changed_attributes=["size", "sha256"],
            audit={"user_id": "1000", "user_name": "joe", "process_id": 42, "process_name": "/usr/bin/vi"},
        )
    )
    agent.send(fim("added", "/etc/new"))
    agent.send(fim("deleted", "/etc/new"))
    agent.keep_alive()
