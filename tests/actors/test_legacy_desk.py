"""The desk with a real journal and no sockets: nothing counts before it is durable, nothing is lost, nothing comes twice."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ossec_vectors import REAL_OSSEC
from waiting import SetClock, settle, until

from hids.actors.legacy_desk import Hungup, LegacyDesk
from hids.actors.stage import Mailbox
from hids.adapters.dbsync_rows import DbSyncRows
from hids.adapters.journal import Journal, Position
from hids.core.wire.lines import GENESIS, unpack
from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.counters import following
from hids.core.wire.ossec.datagram import open_sealed, seal, split
from hids.core.wire.ossec.keys import encryption_key
from hids.core.wire.ossec.manager import Arrived, Limits, Route
from hids.core.wire.ossec.message import Counters, Message
from hids.messages.lane import Hole, Progress
from hids.messages.legacy import (
    LegacyAgent,
    LegacyBatch,
    LegacyDone,
    LegacyKeys,
    LegacyNotice,
    LegacyOrder,
    LegacyProgress,
    LegacyReady,
    LegacySeen,
)
from hids.messages.terms import Agent, AgentId

AGENT = LegacyAgent(Agent(AgentId("1029"), "realagent", "any"), "1029", "any", REAL_OSSEC.key)
ROUTE = Route("192.0.2.7", 4000)
TCP = Route("192.0.2.7", 0, 1)
RING = Keyring(encryption_key(REAL_OSSEC))


class Port:
    def __init__(self) -> None:
        self.sent: list[tuple[Route, bytes]] = []
        self.hung_up: list[Route] = []
        self.reading = True

    def send(self, route: Route, body: bytes) -> None:
        message, _ = open_sealed(split(body), RING)
        self.sent.append((route, message.payload))

    def hang_up(self, route: Route) -> None:
        self.hung_up.append(route)

    def proven(self, route: Route) -> None:
        pass

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def close(self) -> None:
        pass


class BrokenJournal(Journal):
    broken = False

    def append(self, records: Any) -> list[Position]:
        if self.broken:
            raise OSError(28, "No space left on device")
        return super().append(records)


class Stand:
    """A desk, its journal's folder and what it told main; `restart` makes a new life with the same folder."""

    def __init__(self, folder: Path, journal_bytes: int = 1 << 20) -> None:
        self.folder = folder
        self.journal_bytes = journal_bytes
        self.clock = SetClock()
        self.number = Counters(0, 0)
        self.committed: dict[str, Progress] = {}
        self.failed: list[str] = []
        self.start()

    def start(self) -> None:
        self.told: list[Any] = []
        self.port = Port()
        self.mailbox = Mailbox("legacy_desk", 1000)
        self.mailbox.on_exit = lambda exited: self.failed.append(exited.failure or "")
        self.journal: BrokenJournal | None = None
        LegacyDesk.start(
            self.mailbox,
            lambda _deliver, _hungup: self.port,
            self._open,
            DbSyncRows(self.folder / "dbsync.db"),
            lambda _group: ("", b""),
            os.urandom,
            self.clock,
            self.told.append,
            manager="boss",
            limits=Limits(),
            journal_bytes=self.journal_bytes,
        )

    def _open(self, head: Callable[[], bytes]) -> Journal:
        self.journal = BrokenJournal(self.folder / "journal", head, 4096)
        return self.journal

    def inform(self, **keys: Any) -> None:
        self.mailbox.tell(LegacyProgress(dict(self.committed)))
        self.mailbox.tell(LegacyKeys(keys.get("agents", (AGENT,))))

    def restart(self) -> None:
        self.mailbox.shut_down()

    def body(self, payload: bytes) -> bytes:
        self.number = following(self.number)
        return seal(Message(payload, self.number, 1), RING, Method.OSSEC_AES, os.urandom, "1029")

    def arrive(self, *payloads: bytes, route: Route = ROUTE) -> None:
        self.mailbox.tell(Arrived(tuple((self.body(payload), route) for payload in payloads)))

    def batches(self) -> list[LegacyBatch]:
        return [said for said in self.told if isinstance(said, LegacyBatch)]

    def texts(self) -> list[bytes]:
        return [line.text for said in self.batches() for line in unpack(said.batch.data, said.batch.count)]

    def commit(self) -> None:
        for said in self.batches():
            batch = said.batch
            self.committed[f"agent/{said.agent.id}"] = Progress(
                batch.epoch, batch.first_seq + batch.count - 1, batch.chain
            )
        self.mailbox.tell(LegacyProgress(dict(self.committed)))


def run(folder: Path, test: Callable[[Stand], Any], **options: int) -> None:
    async def main() -> None:
        stand = Stand(folder, **options)
        await test(stand)
        stand.mailbox.shut_down()
        await settle()
        assert set(stand.failed) <= {""}

    asyncio.run(main())


def test_nothing_is_read_before_it_is_known_what_is_committed_and_who_there_is(tmp_path: Path):
    async def test(stand: Stand) -> None:
        await settle()
        assert stand.told == [LegacyReady()]
        assert not stand.port.reading
        for half in (LegacyKeys((AGENT,)), LegacyProgress({})):
            stand.restart()
            await settle()
            stand.start()
            stand.mailbox.tell(half)
            await settle()
            assert not stand.port.reading
        stand.inform()
        await settle()
        assert stand.port.reading

    run(tmp_path, test)


def test_lines_become_batches_and_control_messages_are_answered(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(b"#!-agent startup ", b"1:/var/log/x:one", b"1:/var/log/x:two")
        await until(stand.batches, "a batch")
        assert stand.texts() == [b"one", b"two"]
        assert stand.port.sent == [(ROUTE, b"#!-agent ack ")]
        (batch,) = stand.batches()
        assert batch.agent == Agent(AgentId("1029"), "realagent", "192.0.2.7")
        assert batch.batch.first_seq == 1
        (seen,) = [said for said in stand.told if isinstance(said, LegacySeen)]
        assert (seen.connected, seen.method) == (True, "ossec-aes over UDP")

    run(tmp_path, test)


def test_nothing_is_answered_that_is_not_durable(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        await settle()
        assert stand.journal is not None
        stand.journal.broken = True
        stand.arrive(b"#!-agent startup ", b"1:/var/log/x:one")
        await settle()
        assert (stand.port.sent, stand.batches(), stand.port.reading) == ([], [], False)
        stand.journal.broken = False
        stand.arrive(b"1:/var/log/x:two")
        await until(stand.batches, "it goes on")
        assert stand.texts() == [b"one", b"two"]
        assert stand.port.sent == [(ROUTE, b"#!-agent ack ")]
        assert stand.port.reading

    run(tmp_path, test)


def test_a_new_life_sends_what_is_not_committed_and_remembers_every_number(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(b"1:x:one")
        await until(stand.batches, "a batch")
        stand.commit()
        replay = stand.body(b"1:x:two")
        stand.mailbox.tell(Arrived(((replay, ROUTE),)))
        await until(lambda: len(stand.batches()) == 2, "another")
        before = stand.batches()[1]
        stand.restart()
        await settle()
        stand.start()
        stand.inform()
        await until(stand.batches, "the open one again")
        assert stand.batches() == [before], "the same, not cut anew"
        stand.mailbox.tell(Arrived(((replay, ROUTE),)))
        stand.arrive(b"1:x:three")
        await until(lambda: len(stand.batches()) == 2, "the new one")
        assert stand.texts() == [b"two", b"three"]
        assert stand.batches()[1].batch.first_seq == 3
        assert any(isinstance(said, LegacyNotice) and "used before" in said.text for said in stand.told)

    run(tmp_path, test)


def test_the_journal_is_trimmed_as_lines_are_committed(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        for number in range(40):
            stand.arrive(*(b"1:x:" + os.urandom(200).hex().encode() for _ in range(5)))
            await until(lambda number=number: len(stand.batches()) > number, "a batch")
        segments = len(list((tmp_path / "journal").glob("*.journal")))
        assert segments > 5
        stand.commit()
        await settle()
        assert len(list((tmp_path / "journal").glob("*.journal"))) == 1

    run(tmp_path, test)


def test_a_full_journal_drops_counts_and_tells(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(*(b"1:x:" + os.urandom(200).hex().encode() for _ in range(60)))
        await until(stand.batches, "a batch")
        stand.arrive(b"1:x:too much")
        await until(lambda: any(isinstance(said, LegacyNotice) for said in stand.told), "it is told")
        stand.commit()
        await settle()
        stand.arrive(b"#!-agent startup ")
        await settle()
        assert stand.port.sent == [(ROUTE, b"#!-agent ack ")], "agents stay connected"
        assert stand.mailbox.facts()["dropped: journal full"] == 1

    run(tmp_path, test, journal_bytes=9000)


def test_lines_that_a_damaged_disk_lost_are_a_hole(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        texts = [os.urandom(5000) for _ in range(3)]
        for text in texts:
            stand.arrive(b"1:x:" + text)
            await until(lambda text=text: stand.texts()[-1:] == [text], "a batch")
        lost, second, _ = stand.batches()
        stand.restart()
        await settle()
        first = min((tmp_path / "journal").glob("*.journal"))
        data = bytearray(first.read_bytes())
        data[-1] ^= 1
        first.write_bytes(data)
        stand.start()
        stand.inform()
        await until(lambda: len(stand.batches()) == 2, "the others")
        assert stand.texts() == texts[1:]
        (hole,) = [said for said in stand.told if isinstance(said, Hole)]
        assert (hole.first, hole.last, hole.chain) == (1, 1, lost.batch.chain)
        assert stand.told.index(hole) < stand.told.index(second)

    run(tmp_path, test)


def test_an_empty_journal_goes_on_above_the_ledger(tmp_path: Path):
    async def test(stand: Stand) -> None:
        epoch = stand.clock.now_ms() // 1000 + 100
        stand.committed["agent/1029"] = Progress(epoch, 7, GENESIS)
        stand.inform()
        stand.arrive(b"1:x:one")
        await until(stand.batches, "a batch")
        assert (stand.batches()[0].batch.epoch, stand.batches()[0].batch.first_seq) == (epoch + 1, 1)

    run(tmp_path, test)


def test_strangers_are_cut_off_and_told_once(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        for _ in range(3):
            stand.mailbox.tell(Arrived(((b"!1029!:" + bytes(80), TCP), (b"nonsense", TCP))))
        await until(lambda: len(stand.port.hung_up) == 6, "cut off")
        notices = [said.text for said in stand.told if isinstance(said, LegacyNotice)]
        assert notices == ["agent refused: wrong key"]
        stand.mailbox.tell(Hungup(TCP))

    run(tmp_path, test)


def test_an_agents_numbers_begin_anew_when_a_person_says_so(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(b"1:x:one", b"1:x:two")
        await until(stand.batches, "a batch")
        stand.number = Counters(0, 0)
        stand.arrive(b"1:x:reinstalled")
        await settle()
        assert len(stand.batches()) == 1
        again = LegacyAgent(AGENT.agent, "1029", "any", AGENT.key, generation=1)
        stand.inform(agents=(again,))
        stand.arrive(b"1:x:reinstalled")
        await until(lambda: len(stand.batches()) == 2, "it is heard")

    run(tmp_path, test)


def test_orders_are_answered(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.mailbox.tell(LegacyOrder(AgentId("1029"), "scan", number=1))
        stand.arrive(b"#!-agent startup ")
        stand.mailbox.tell(LegacyOrder(AgentId("1029"), "scan", number=2))
        await until(lambda: len(stand.port.sent) == 2, "the order")
        first, second = [said for said in stand.told if isinstance(said, LegacyDone)]
        assert "not connected" in first.problem
        assert second == LegacyDone(2)
        assert stand.port.sent[1] == (ROUTE, b"#!-syscheck restart")

    run(tmp_path, test)


CHECK = b'5:fim_file:{"component":"fim_file","type":"integrity_check_global","data":'
CHECK += (
    b'{"id":1,"begin":"/a","end":"/a","checksum":"%b"}}'
    % hashlib.sha1(b"a" * 40, usedforsecurity=False).hexdigest().encode()
)
ROW = b'5:fim_file:{"component":"fim_file","type":"state","data":{"index":"/a","attributes":{"checksum":"'
ROW += b"a" * 40 + b'"}}}'


def test_a_wazuh_agent_synchronises_its_files(tmp_path: Path):
    startup = b'#!-agent startup {"version":"v4.14.7"}'

    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(startup, CHECK)
        await until(lambda: len(stand.port.sent) == 2, "an answer")
        assert stand.port.sent[1] == (ROUTE, b'#!-fim_file dbsync no_data {"begin":"/a","end":"/a","id":1}')
        stand.arrive(ROW)
        await until(stand.batches, "a batch")
        (fact,) = stand.texts()
        assert b"baseline" in fact
        stand.restart()
        await settle()
        stand.start()
        stand.inform()
        stand.arrive(CHECK, b"5:syscollector:{", b"5:fim_file:{", startup)
        await until(lambda: stand.port.sent, "an acknowledgement")
        assert stand.port.sent == [(ROUTE, b"#!-agent ack ")], "they agree, over a restart, too"

    run(tmp_path, test)


def test_a_full_journal_takes_no_rows(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.inform()
        stand.arrive(b"#!-agent startup ", *(b"1:/l:" + os.urandom(500).hex().encode() for _ in range(30)))
        await until(lambda: stand.port.sent, "an acknowledgement")
        stand.arrive(CHECK, ROW, b"#!-agent startup ")
        await until(lambda: len(stand.port.sent) > 1, "another")
        assert [payload for _, payload in stand.port.sent] == [b"#!-agent ack "] * 2

    run(tmp_path, test, journal_bytes=9000)
