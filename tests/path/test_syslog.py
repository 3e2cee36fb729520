"""Devices send syslog over UDP, TCP and TLS to a real manager: every line is on disk, evaluated once, and an alert."""

import contextlib
import socket
import ssl
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

from hids.adapters.arrivals import ArrivalJournal
from hids.adapters.clock import SystemClock
from hids.adapters.pki import Authority
from hids.messages.lines import LogLine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SETTINGS = """
[[syslog]]
listen = "127.0.0.1:0"
allow = ["127.0.0.1"]
[[syslog]]
listen = "127.0.0.1:0"
protocol = "tcp"
allow = ["127.0.0.0/8"]
[[syslog]]
listen = "127.0.0.1:0"
protocol = "tls"
allow = ["127.0.0.1", "::1"]
certificate = "{certificate}"
[[syslog]]
listen = "127.0.0.1:0"
protocol = "tcp"
allow = ["192.0.2.0/24"]
[workers]
count = 1
"""


def users(stand: Stand) -> list[str]:
    return sorted(alert["data"]["srcuser"] for alert in stand.alerts() if alert["rule"]["id"] == "201210")


def test_from_a_device_to_an_alert(tmp_path: Path):
    authority = Authority.open_or_create(tmp_path / "ca", SystemClock())
    authority.server_context()  # makes a certificate of its own
    stand = Stand(tmp_path)
    stand.settings = SETTINGS.format(certificate=tmp_path / "ca" / "server.pem")
    stand.start_manager()
    try:
        udp, tcp, tls, closed = stand.ports["syslog"]  # type: ignore[misc]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            for number in range(5):
                device.sendto(f"<38>{failed_login(f'udp{number}', f'192.0.2.{number}')}".encode(), ("127.0.0.1", udp))
        with socket.create_connection(("127.0.0.1", tcp)) as stream:
            counted = f"<38>{failed_login('tcp0', '192.0.2.10')}".strip()
            stream.sendall(f"{len(counted)} {counted}<38>{failed_login('tcp1', '192.0.2.11')}".encode())
        context = ssl.create_default_context(cadata=authority.ca_pem.decode(), purpose=ssl.Purpose.SERVER_AUTH)
        with (
            socket.create_connection(("127.0.0.1", tls)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            what = "Failed password for invalid user tls0 from 192.0.2.12 port 4022 ssh2"
            message = f"<38>1 2026-11-24T03:21:43Z web1 sshd 7 - - {what}"
            secured.sendall(f"{len(message)} {message}".encode())
        wanted = sorted(["tcp0", "tcp1", "tls0", *(f"udp{number}" for number in range(5))])
        wait_for(lambda: users(stand) == wanted, f"all alerts: {users(stand)}")
        (alert, *_) = stand.alerts()
        assert (alert["agent"]["id"], alert["location"]) == ("000", "127.0.0.1")
        with socket.create_connection(("127.0.0.1", closed)) as stranger:
            stranger.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""

        nodes = stand.nodes()
        assert nodes["syslog_listener"]["facts"]["refused"] == 1
        assert nodes["syslog_listener"]["facts"]["received"] == 8

        # What is on disk and not committed survives the manager.
        stand.manager.kill()  # type: ignore[union-attr]
        stand.start_manager()
        udp = stand.ports["syslog"][0]  # type: ignore[index]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.sendto(f"<38>{failed_login('later', '192.0.2.13')}".encode(), ("127.0.0.1", udp))
        wait_for(lambda: users(stand) == sorted([*wanted, "later"]), f"one more, none twice: {users(stand)}")
    finally:
        stand.close()


def test_what_a_damaged_disk_lost_is_an_alert_and_the_rest_is_evaluated(tmp_path: Path):
    stand = Stand(tmp_path)
    stand.settings = '[[syslog]]\nlisten = "127.0.0.1:0"\nallow = ["127.0.0.1"]\n[workers]\ncount = 1\n'
    stand.start_manager()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            (udp,) = stand.ports["syslog"]  # type: ignore[misc]
            device.sendto(f"<38>{failed_login('first')}".encode(), ("127.0.0.1", udp))
        wait_for(lambda: users(stand) == ["first"], "the first alert")
        stand.manager.stop()  # type: ignore[union-attr]

        # What came in the moment before: on disk, not committed.
        journal = ArrivalJournal(stand.paths.syslog, 1)
        before, now_ms = journal.next, SystemClock().now_ms()
        for user in ("kept", "lost", "kept_too"):
            journal.append((LogLine("127.0.0.1", failed_login(user).strip().encode(), now_ms, now_ms),))
        _, lost, _ = journal.batches(before, 1 << 20)
        journal.close()
        newest = max(stand.paths.syslog.glob("*.journal"))
        newest.write_bytes(newest.read_bytes().replace(lost.data, bytes(len(lost.data))))

        stand.start_manager()
        wait_for(lambda: users(stand) == ["first", "kept", "kept_too"], f"both others: {users(stand)}")
        (told,) = wait_for(lambda: [alert for alert in stand.alerts() if alert["rule"]["id"] == "206107"], "the hole")
        assert f"{lost.first_seq}" in told["full_log"]
        assert "the journal was damaged" in told["full_log"]
    finally:
        stand.close()
