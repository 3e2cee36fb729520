"""Old agents on a real manager, from outside: enrolment, logs, files, orders, kills; and our agent on an old manager."""

import os
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from old_peers import ACK, OldAgent, OldManagerServer, enrol, old_agent
from stand import Stand, failed_login, wait_for

from hids.core.wire.ossec.cipher import Method
from hids.core.wire.ossec.files import md5_of, split_merged
from hids.core.wire.ossec.keys import ClientKey, export, import_exported, parse_key
from hids.core.wire.ossec.message import Counters

pytestmark = pytest.mark.slow

PASSWORD = "sesame-open"
CONF = "<agent_config>\n</agent_config>\n" * 100


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("legacy")
    (folder / "shared").mkdir()
    (folder / "shared" / "agent.conf").write_text(CONF)
    (folder / "password").write_text(PASSWORD + "\n")
    stand = Stand(folder)
    configure(stand, 0)
    try:
        stand.start_manager()
        configure(stand, stand.ports["legacy_udp"])
        yield stand
    finally:
        stand.close()


def configure(stand: Stand, port: int) -> None:
    stand.settings = (
        f'[legacy]\nenabled = true\nudp = "127.0.0.1:{port}"\nblowfish = true\n'
        f'password_file = "{stand.folder}/password"\nshared = "{stand.folder}/shared"\n'
        '[[response]]\ncommand = "firewall-drop"\nrules = [201213]\n'
    )


def hidsctl(stand: Stand, *arguments: str) -> str:
    return stand.run("hids.cli.hidsctl", "--state", str(stand.paths.lib), *arguments).stdout


def enrolled(stand: Stand, name: str) -> ClientKey:
    request = f"OSSEC PASS: {PASSWORD} OSSEC A:'{name}'\n".encode()
    answer = enrol(stand.ports["join"], request)
    match = re.fullmatch(rb"OSSEC K:'(.*)'\n\n", answer)
    assert match is not None, answer
    return parse_key(match[1].decode())


def pushed(agent: OldAgent) -> bytes:
    """The file that the manager pushes next, checked as agents check it."""
    start = agent.receive()
    match = re.fullmatch(rb"#!-up file ([0-9a-f]{32}) merged\.mg\n", start)
    assert match is not None, start
    content = b""
    while not (chunk := agent.receive()).startswith(b"#!-"):
        content += chunk
    assert chunk == b"#!-close file "
    assert md5_of(content) == match[1].decode()
    return content


def logins(stand: Stand, who: str) -> int:
    """Alerts about that login, whichever rule speaks: failures of one address add up over the tests."""
    return sum(who in alert["full_log"] for alert in stand.alerts() if alert["rule"]["id"].startswith("2012"))


def log_line(user: str, address: str = "192.0.2.7") -> bytes:
    return b"1:/var/log/auth.log:" + failed_login(user, address).strip().encode()


def row(stand: Stand, name: str) -> dict[str, str]:
    return next(row for row in stand.ask("agents") if row["name"] == name)


def test_an_ossec_agent_from_enrolment_to_alerts(stand: Stand):
    key = enrolled(stand, "oa1")
    with old_agent(key, stand.ports["legacy_udp"]) as agent:
        agent.start()
        agent.send(f"1:ossec:ossec: Agent started: '{key.name}->{key.ip}'.".encode())
        agent.keep_alive()
        merged = pushed(agent)
        assert split_merged(merged)["agent.conf"] == CONF.encode()
        assert b"restart-ossec0 - restart-ossec.sh - 0" in split_merged(merged)["ar.conf"]
        agent.keep_alive(md5_of(merged))
        agent.send(log_line("oa1-joe"))
        sums = [f"{size}:33188:0:0:{letter * 32}:{'b' * 40}" for size, letter in ((9, "a"), (10, "d"))]
        for event in (
            f"{sums[0]} /etc/passwd",
            "syscheck-db-completed",
            f"{sums[1]} /etc/passwd",
            f"{sums[0]} /tmp/new",
        ):
            agent.send(f"8:syscheck:{event}".encode())
        agent.send(b"9:rootcheck:Rootkit 'Adore' detected by the presence of file '/dev/.x'.")
        agent.send(b"1:ossec-keepalive:--MARK--: xyz")
        wait_for(lambda: logins(stand, "oa1-joe") == 1, "the login")
        wait_for(lambda: {"206403", "206001", "206010"} <= stand.rules().keys(), "rootcheck's finding and the files")
        (changed,) = [alert for alert in stand.alerts() if alert["rule"]["id"] == "206010"]
        assert "size, md5" in changed["full_log"]
        assert changed["agent"] == {"id": key.id, "name": "oa1", "ip": "127.0.0.1"}
    assert row(stand, "oa1")["state"] == "connected"
    assert row(stand, "oa1")["software"] == "OSSEC HIDS v4.2.0"


def test_wazuh_over_tcp_and_orders(stand: Stand):
    request = f"OSSEC PASS: {PASSWORD} OSSEC A:'wz1' V:'v4.14.7' G:'default'\n".encode()
    answer = enrol(stand.ports["join"], request, ssl.TLSVersion.TLSv1_3)
    key = parse_key(answer.decode().split("'")[1])
    with old_agent(key, stand.ports["agents"], Method.WAZUH_AES, tcp=True) as agent:
        agent.start()
        agent.keep_alive()
        merged = pushed(agent)
        agent.keep_alive(md5_of(merged))
        agent.send(log_line("wz1-joe"))
        agent.send(b"1:a|:b:" + failed_login("wz1-esc").strip().encode())
        agent.send(b'5:fim_file:{"component":"fim_file","type":"integrity_clear","data":{"id":1}}')
        wait_for(lambda: logins(stand, "wz1-") == 2, "the logins")
        assert "a:b" in {alert["location"] for alert in stand.alerts()}
        hidsctl(stand, "legacy", "respond", "wz1", "firewall-drop600", "--ip", "203.0.113.9")
        assert b'"command":"firewall-drop600"' in agent.receive()
        stand.ask("legacy.order", agent="wz1", what="restart")
        assert b'"command":"restart-wazuh0"' in agent.receive()
        with old_agent(key, stand.ports["agents"], Method.WAZUH_AES, tcp=True) as clone:
            clone.number = agent.number
            clone.send(b"#!-agent startup ")
            assert clone.is_cut_off(), "the older one stays"
        stand.ask("remove", agent="wz1")
        assert agent.is_cut_off()


def test_alerts_order_the_responses_of_old_agents(stand: Stand):
    key = enrolled(stand, "responds")
    line = failed_login("x")
    line = line[: line.index("Failed")] + "Invalid user x from 203.0.113.77 port 4022"
    with old_agent(key, stand.ports["legacy_udp"]) as agent:
        agent.start()
        agent.keep_alive()
        agent.keep_alive(md5_of(pushed(agent)))
        agent.send(b"1:/var/log/auth.log:" + line.encode())
        order = agent.receive()
        assert re.match(rb"#!-execd firewall-drop600 - 203\.0\.113\.77 \d+\.\d+ 201213 ", order), order
        (given,) = wait_for(lambda: stand.ctl("response", "list"), "it is listed")
        wait_for(lambda: stand.ctl("response", "list")[0]["state"] == "done", "it was sent")
        assert (given["target"], given["agent_name"]) == ("203.0.113.77", "responds")


def test_keys_that_agents_have_are_imported(stand: Stand, tmp_path: Path):
    keys = [ClientKey("501", "imp1", "any", "a1" * 32), ClientKey("502", "imp2", "127.0.0.1", "b2" * 32)]
    (tmp_path / "client.keys").write_text("".join(f"{key}\n" for key in keys) + "503 !gone any 0\n")
    told = hidsctl(stand, "agent", "import-keys", str(tmp_path / "client.keys"))
    assert "501 imp1: agent 501 new" in told
    assert "line 3: agent 503 gone skipped: removed on the old manager\n2 agents, 1 skipped" in told
    with old_agent(keys[0], stand.ports["legacy_udp"], Method.BLOWFISH) as agent:
        agent.start()
        agent.send(log_line("imp1-joe"))
    with old_agent(keys[1], stand.ports["legacy_udp"]) as agent:
        agent.send_body(agent.body(b"#!-agent startup ", named=False))
        assert agent.receive() == ACK
        agent.send_body(agent.body(log_line("imp2-joe"), named=False))
        wait_for(lambda: logins(stand, "imp1-joe") + logins(stand, "imp2-joe") == 2, "the logins")
    assert import_exported(hidsctl(stand, "legacy", "key", "imp1")) == keys[0]
    (tmp_path / "client.keys").write_text("# a comment\n503 imp3\n")
    with pytest.raises(AssertionError, match="line 2: expected ID NAME IP KEY"):
        hidsctl(stand, "agent", "import-keys", str(tmp_path / "client.keys"))


def test_an_agent_that_was_installed_again_counts_anew_when_a_person_allows_it(stand: Stand):
    key = enrolled(stand, "again")
    with old_agent(key, stand.ports["legacy_udp"]) as agent:
        agent.start()
    with old_agent(key, stand.ports["legacy_udp"]) as agent:
        assert agent.is_silent(lambda: wait_for(lambda: refused(agent, stand), "it is refused"))
        hidsctl(stand, "legacy", "reset-counters", "again")
        agent.number = Counters(0, 0)
        agent.start()


def refused(agent: OldAgent, stand: Stand) -> bool:
    agent.number = Counters(0, 0)
    agent.send(b"#!-agent startup ")
    return any("used before" in alert["full_log"] for alert in stand.alerts() if alert["agent"]["name"] == "again")


def test_strangers_and_guesses(stand: Stand):
    answer = enrol(stand.ports["join"], b"OSSEC PASS: guess OSSEC A:'evil'\n")
    assert answer.startswith(b"ERROR: Invalid password")
    wait_for(lambda: any("wrong password" in alert["full_log"] for alert in stand.alerts()), "an alert")
    stranger = ClientKey("501", "imp1", "any", "c3" * 32)
    with old_agent(stranger, stand.ports["agents"], Method.WAZUH_AES, tcp=True) as agent:
        agent.send(b"#!-agent startup ")
        assert agent.is_cut_off()
    assert not any(row["name"] == "evil" for row in stand.ask("agents"))


@pytest.mark.fault
def test_nothing_is_lost_or_doubled_when_the_process_or_the_manager_is_killed(stand: Stand):
    key = enrolled(stand, "killed")
    replay, numbers = b"", Counters(0, 0)
    for number, victim in enumerate(("legacy", "lane", "manager")):
        with old_agent(key, stand.ports["legacy_udp"]) as agent:
            agent.number = numbers
            agent.start()
            bodies = [agent.body(log_line(f"killed-{number}-{n}", f"10.9.{number}.{n}")) for n in range(100)]
            for body in bodies:
                agent.send_body(body)
            agent.send(b"#!-agent startup ")
            assert agent.receive() == ACK, "with this everything before it is durable"
            if victim == "manager":
                assert stand.manager is not None
                stand.manager.kill()
                stand.start_manager()
            else:
                pid = stand.pid_of(victim)
                os.kill(pid, signal.SIGKILL)
                stand.pid_of(victim, before=pid)
            wait_for(lambda number=number: logins(stand, f"killed-{number}-") >= 100, "all lines")
            if replay:
                agent.send_body(replay)
            agent.send_body(bodies[-1])
            replay = bodies[0]
            agent.send(log_line(f"killed-after-{number}", f"10.8.{number}.1"))
            wait_for(lambda number=number: logins(stand, f"killed-after-{number}") == 1, "it goes on")
            numbers = agent.number
    assert logins(stand, "killed-") == 303
    assert any("used before" in alert["full_log"] for alert in stand.alerts())


def test_our_agent_reports_to_an_old_manager(tmp_path: Path):
    key = ClientKey("1024", "ours", "any", "d4" * 32)
    stand = Stand(tmp_path)
    folder = stand.agent_folder("ours")
    (folder / "watched").mkdir(parents=True)
    (folder / "watched" / "old").write_text("1")
    (folder / "log").write_bytes(b"first\nsecond: \xff\n")
    with OldManagerServer(key) as manager:
        stand.run("hids.cli.agent", "import-ossec-key", export(key), "--state", str(folder / "state"))
        try:
            stand.start_agent(
                "ours",
                f'[manager]\nprotocol = "ossec"\naddress = "127.0.0.1:{manager.port}"\nnotify_s = 1\n'
                f'[[source]]\npath = "{folder}/log"\nfrom = "start"\n[syscheck]\ndirectories = ["{folder}/watched"]\n',
            )
            wait_for(lambda: manager.heard(b"1:ossec:ossec: Agent started: 'ours->any'."), "it has started")
            wait_for(lambda: manager.heard(b"log:second: \xff"), "its log")
            wait_for(lambda: manager.heard(b"8:syscheck:1:"), "its files")
            manager.push(b"!3 a.conf\nabc")
            wait_for((folder / "state/shared/a.conf").exists, "the shared file")
            wait_for(lambda: manager.heard(md5_of(b"!3 a.conf\nabc").encode() + b" merged.mg"), "it says so")
            (folder / "watched" / "new").write_text("2")
            wait_for(lambda: manager.heard(b"8:syscheck:syscheck-db-completed"), "the end of its first tour")
            manager.silent = True
            with (folder / "log").open("ab") as log:
                log.write(b"while you were away\n")
            wait_for(lambda: manager.heard(b"while you were away"), "it is sent")
            manager.forget()
            manager.silent = False
            wait_for(lambda: manager.heard(b"while you were away"), "what was not acknowledged")
        finally:
            stand.close()
