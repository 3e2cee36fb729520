"""Mail, syslog and a webhook beside each other: one that is away or hangs delays no other, and gets everything later."""

import json
import os
import signal
from typing import Any

import pytest
from receiver import Receiver
from sinks import LineSink, MailSink
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]

LINES = 3_000


def test_each_output_gets_everything_whatever_the_others_do(stand: Stand):
    mail, log_server, receiver = MailSink(), LineSink(), Receiver()
    receiver.mood = "hanging"
    mail.start()
    stand.settings = f"""
[workers]
count = 1
[[output]]
type = "webhook"
url = "{receiver.url}"
timeout_s = 1.0
[[output]]
type = "syslog"
server = "127.0.0.1:{log_server.port}"
protocol = "tcp"
format = "json"
[[output]]
type = "email"
to = ["ops@example.org"]
from = "hids@example.org"
server = "127.0.0.1:{mail.port}"
tls = "none"
rules = [201210]
urgent = 0
"""
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    with log.open("a") as file:
        file.writelines(failed_login(f"u{number}", f"10.9.{number // 250}.{number % 250}") for number in range(LINES))
    wait_for(lambda: stand.rules()["201210"] >= LINES, "the files have all, though two outputs are stuck")
    wanted = {alert["id"] for alert in stand.alerts()}

    def mailed() -> str:
        return "".join(str(message.get_body(("plain",)).get_content()) for message in tuple(mail.mails))  # type: ignore[union-attr]

    wait_for(lambda: f"u{LINES - 1}" in mailed(), "all are mailed, though two outputs are stuck")

    def rows_when_it_fails() -> dict[str, Any]:
        found = {row["output"]: row for row in stand.ctl("outputs", "list")}
        return found if found["webhook:webhook"]["failing"] else {}

    rows = wait_for(rows_when_it_fails, "the webhook is known to fail")
    assert "syslog:syslog" in rows
    assert rows["email:email"]["failing"] == rows["alerts.json"]["failing"] == ""
    assert stand.nodes()["senders"]["restarts"] == 0

    os.kill(stand.pid_of("senders"), signal.SIGKILL)
    log_server.start()
    wait_for(lambda: log_server.lines, "the log server gets some")
    log_server.stop()
    log_server.start()
    receiver.recover()
    wait_for(lambda: wanted <= set(receiver.seen), "the webhook gets all")
    wait_for(lambda: wanted <= {id_of(line) for line in tuple(log_server.lines)}, "the log server gets all")

    folder, config = str(stand.paths.lib), str(stand.folder / "m" / "manager.toml")
    stand.ctl("outputs", "test", "email", "--config", config)
    assert str(mail.mails[-1]["Subject"]).strip().startswith("[hids] level 15 on ")
    log_server.stop()
    refused = stand.ctl("outputs", "test", "syslog:syslog", "--config", config, status=1)
    assert "did not take it" in refused
    assert folder in stand.ctl("outputs", "test", "pigeon", status=1)
    assert stand.ctl("outputs", "dead-letters") == []
    mail.stop()
    receiver.close()


def id_of(line: bytes) -> str:
    """Of a line that may be torn: its sender was killed."""
    try:
        return str(json.loads(line[line.index(b"{") :])["id"])
    except ValueError:
        return ""
