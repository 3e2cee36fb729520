"""What our agent believes of an OSSEC manager, over a real socket (the whole agent: tests/path/test_legacy.py)."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from old_peers import OldManagerServer
from ossec_vectors import WEB01
from waiting import until

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.agent import ossec_link
from hids.agent.linkstate import LinkState, Probe
from hids.agent.ossec_identity import write_key
from hids.agent.ossec_link import COUNTERS_FILE, SHARED, OssecLink, Used
from hids.agent.spooler import Desk, Spooler
from hids.core.collect.config import ManagerConfig
from hids.core.wire.ossec.message import Counters
from hids.messages.lines import Append, LogLine
from hids.messages.response import ResponseOrder


class Stand:
    """A link with a real spool, and a manager that does what it is told."""

    def __init__(self, folder: Path, manager: OldManagerServer, *, executes: bool = False) -> None:
        self.folder = folder
        self.manager = manager
        self.scans = 0
        self.ended: list[str] = []
        write_key(folder, WEB01)
        self.desk = Desk(1 << 24)
        self.spool, self.link = Mailbox("spool"), Mailbox("link")
        for box in (self.spool, self.link):
            box.on_exit = lambda exited: self.ended.append(exited.name)
        self.desk.link = self.link
        self.state = LinkState()
        Spooler.start(self.spool, folder / "spool.db", self.desk, SystemClock())
        config = ManagerConfig(address=f"127.0.0.1:{manager.port}", protocol="ossec", notify_s=1)
        self.executed: list[ResponseOrder] = []
        OssecLink.start(
            self.link,
            self.spool,
            self.desk,
            self.state,
            folder,
            config,
            SystemClock(),
            self._scan,
            self.executed.append if executes else None,
        )

    def _scan(self) -> None:
        self.scans += 1

    def log(self, text: bytes) -> None:
        self.spool.tell(Append("test", (LogLine("/var/log/x", text, 1, 1),), {}))

    async def close(self) -> None:
        for name in ("link", "spool"):
            {"link": self.link, "spool": self.spool}[name].shut_down()
            await until(lambda name=name: name in self.ended, f"{name} has ended")


def run(folder: Path, test: Callable[[Stand], Any], *, executes: bool = False) -> None:
    async def main() -> None:
        with OldManagerServer(WEB01) as manager:
            stand = Stand(folder, manager, executes=executes)
            await until(lambda: stand.state.connected, "connected")
            await test(stand)
            await stand.close()

    asyncio.run(main())


def test_lines_are_delivered_and_leave_the_spool(tmp_path: Path):
    async def test(stand: Stand) -> None:
        for number in range(3):
            stand.log(b"line %d" % number)
        await until(lambda: stand.manager.heard(b"1:/var/log/x:line 2"), "they came")
        await until(lambda: stand.desk.lines == 0, "the spool is empty")

    run(tmp_path, test)


def test_orders_are_not_carried_out_twice_and_files_do_not_lead_elsewhere(tmp_path: Path):
    async def test(stand: Stand) -> None:
        manager = stand.manager
        number = manager.send(b"#!-syscheck restart")
        await until(lambda: stand.scans == 1, "a scan")
        used = msgspec.json.decode((tmp_path / COUNTERS_FILE).read_bytes(), type=Used)
        assert used.seen.accept(number) is None, "on disk before it was done"
        manager.send(b"#!-syscheck restart", again=number)
        manager.push(b"!1 ../x\na")
        manager.push(b"!1 a.conf\na")
        await until((tmp_path / SHARED / "a.conf").exists, "the good one")
        assert stand.scans == 1
        assert not (tmp_path / "x").exists()
        manager.send(b"#!-execd restart-ossec0 - null (from_the_server) (no_rule_id)")
        manager.send(b"#!-what is this")
        manager.send(b"no file is open")
        stand.log(b"still here")
        await until(lambda: manager.heard(b"still here"), "it lives")

    run(tmp_path, test)


def test_numbers_that_were_used_are_never_used_again(tmp_path: Path):
    async def first(stand: Stand) -> None:
        stand.log(b"one")
        await until(lambda: stand.desk.lines == 0, "delivered")

    run(tmp_path, first)
    before = msgspec.json.decode((tmp_path / COUNTERS_FILE).read_bytes(), type=Used).sent
    run(tmp_path, first)
    assert msgspec.json.decode((tmp_path / COUNTERS_FILE).read_bytes(), type=Used).sent > before


def test_an_acknowledgement_that_lines_left_for_is_never_good_again(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.log(b"one")
        await until(lambda: stand.state.acked, "delivered")
        used = msgspec.json.decode((tmp_path / COUNTERS_FILE).read_bytes(), type=Used)
        assert used.seen.newest > Counters(0, 1), "more than the acknowledgement of the start is on disk"

    run(tmp_path, test)


def test_it_connects_again_without_starting_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ossec_link, "DELIVERED_WAITS_S", (0.1,))
    monkeypatch.setattr(ossec_link, "ACK_WAITS_S", (0.1,))
    monkeypatch.setattr(ossec_link, "STARTUP_WAITS_S", (0.1, 0.1))

    async def test(stand: Stand) -> None:
        await until(lambda: stand.manager.heard(b"Agent started"), "it has started")
        stand.manager.silent = True
        stand.log(b"while you were away")
        await until(lambda: not stand.state.connected, "it notices")
        stand.manager.forget()
        stand.manager.silent = False
        await until(lambda: stand.manager.heard(b"while you were away"), "delivered")
        assert stand.manager.heard(b"#!-agent startup ")
        assert not stand.manager.heard(b"Agent started")

    run(tmp_path, test)


def test_responses_of_its_ar_conf_are_handed_on(tmp_path: Path):
    async def test(stand: Stand) -> None:
        conf = b"firewall-drop600 - firewall-drop.sh - 600\nodd60 - ../sh - 60\n"
        stand.manager.push(b"!%d ar.conf\n%s" % (len(conf), conf))
        await until((tmp_path / SHARED / "ar.conf").exists, "ar.conf")
        for words in (
            "odd60 - 192.0.2.7 1.2 3 x y",
            "unknown - 192.0.2.7 1.2 3 x y",
            "firewall-drop600 - 192.0.2.7;id 1.2 3 x y",
        ):
            stand.manager.send(f"#!-execd {words}".encode())
        stand.manager.send(b"#!-execd firewall-drop600 - 192.0.2.7 1795488829.1 5712 (web) any->/x (null)")
        await until(lambda: stand.executed, "it is handed on")
        (order,) = stand.executed
        assert (order.action, order.address, order.reference, order.rule) == (
            "firewall-drop",
            "192.0.2.7",
            "1795488829.1",
            "5712",
        )
        assert order.until_ms - order.issued_ms == 600_000
        heard_s = stand.state.heard_s
        stand.link.tell(Probe())
        await until(lambda: stand.state.heard_s > heard_s, "the manager is heard when that is asked for")
        assert stand.state.peer == "127.0.0.1"

    run(tmp_path, test, executes=True)
