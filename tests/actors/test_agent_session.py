"""One agent's session: greeting, batches, acknowledgements, credit, the fence, and every way it ends."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from waiting import SetClock, settle, until

from hids.actors.agent_session import HELLO_S, Admitted, AgentSession, HelloDue, RenewedFor
from hids.actors.conversation import ABILITIES, MAX_OUTCOMES
from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Exited, Mailbox
from hids.core.wire.lines import GENESIS, link
from hids.core.wire.session import PROTOCOL_VERSION
from hids.messages.agent_link import Ack, Bye, Configured, Heartbeat, Hello, NewEpoch, Refused, Renew, Renewed, Welcome
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, Progress, ReadThrough
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Batch
from hids.messages.response import Responded
from hids.messages.terms import Agent, AgentId

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
SOURCE = "agent/007"
EPOCH = 100


class Wire:
    """A connection that takes notes."""

    def __init__(self) -> None:
        self.address = "10.0.0.1"
        self.certificate = b"certificate"
        self.sent: list[Any] = []
        self.resumed = 0
        self.closed: list[str] = []
        self._deliver: Callable[[Any], int] = lambda _: 0
        self._closed: Callable[[str], None] | None = None

    def attach(self, deliver: Callable[[Any], int], closed: Callable[[str], None]) -> None:
        self._deliver, self._closed = deliver, closed

    def send(self, message: Any) -> None:
        if not self.closed:
            self.sent.append(message)

    def resume(self) -> None:
        self.resumed += 1

    def close(self, reason: str) -> None:
        self.closed.append(reason)
        told, self._closed = self._closed, None
        if told is not None:
            told(reason)

    def deliver(self, message: Any) -> int:
        return self._deliver(message)


class Main:
    """What sessions share, and what they hand on."""

    def __init__(self, pool: int = 1000, window: int = 1000) -> None:
        self.clock = SetClock()
        self.register = ProgressRegister()
        self.register.update({})
        self.credit = CreditPool(pool, window)
        self.fleet = Fleet()
        self.emitted: list[Any] = []
        self.exits: list[Exited] = []
        self.answer: Admitted | None = Admitted(AGENT, "")
        self.renewals: list[tuple[str, bytes]] = []
        self.responded: list[tuple[str, Responded]] = []
        self._count = 0

    def session(self) -> "Session":
        self._count += 1
        mailbox = Mailbox(f"session-{self._count}", 1000)
        mailbox.on_exit = self.exits.append
        wire = Wire()

        def admit(_certificate: bytes, _hello: Hello, _address: str) -> None:
            if self.answer is not None:
                mailbox.tell(self.answer)

        AgentSession.start(
            mailbox,
            wire,
            admit,
            self.register,
            self.credit,
            self.fleet,
            self.clock,
            self.emitted.append,
            lambda agent_id, csr: self.renewals.append((agent_id, csr)),
            lambda agent_id, said: self.responded.append((agent_id, said)),
        )
        return Session(mailbox, wire)

    def commit(self, seq: int, chain: bytes, epoch: int = EPOCH) -> None:
        self.register.update({SOURCE: Progress(epoch, seq, chain)})

    def told(self) -> list[str]:
        return [message.text for message in self.emitted if isinstance(message, Tell)]

    def jobs(self) -> list[Job]:
        return [message for message in self.emitted if isinstance(message, Job)]


class Session:
    """One session as its agent sees it."""

    def __init__(self, mailbox: Mailbox, wire: Wire) -> None:
        self.mailbox = mailbox
        self.wire = wire
        self.chain = GENESIS
        self.next = 1

    async def say(self, *messages: Any) -> list[Any]:
        """Deliver; the answers."""
        before = len(self.wire.sent)
        for message in messages:
            self.wire.deliver(message)
        await settle()
        return self.wire.sent[before:]

    def batch(self, count: int = 2, data: bytes = b"d" * 100) -> Batch:
        self.chain = link(self.chain, data)
        batch = Batch(EPOCH, self.next, count, self.chain, data)
        self.next += count
        return batch


def hello(**changes: Any) -> Hello:
    said: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "machine_id": "machine",
        "epoch": EPOCH,
        "oldest": 1,
        "next": 1,
        "chain": GENESIS,
        "clock_ms": SetClock().ms,
    }
    return Hello(**(said | changes))


def run(test: Callable[[Main], Any], main_of: Callable[[], Main] = Main) -> None:
    async def main() -> None:
        await test(main_of())

    asyncio.run(main())


async def begun(main: Main, **changes: Any) -> Session:
    session = main.session()
    answers = await session.say(hello(**changes))
    assert [type(answer) for answer in answers] == [Welcome]
    return session


def test_an_agent_is_welcomed_with_what_it_needs():
    async def test(main: Main) -> None:
        session = main.session()
        answers = await session.say(hello(oldest=3, next=9, chain=b"a" * 32))
        assert answers == []
        hole = main.emitted[0]
        assert hole == Hole(SOURCE, AGENT, EPOCH, 1, 2, b"a" * 32, "the agent no longer has them")
        main.commit(2, b"a" * 32)
        await settle()
        assert session.wire.sent == [Welcome(3, 1000, main.clock.ms, "007", "web1", ABILITIES)]
        presence = main.fleet.get("007")
        assert presence is not None
        assert (presence.connected, presence.machine_id, presence.epoch) == (True, "machine", EPOCH)

    run(test)


def test_nobody_is_welcomed_before_the_lane_has_said_what_is_committed():
    async def test(main: Main) -> None:
        main.register = ProgressRegister()
        session = main.session()
        assert await session.say(hello(next=5)) == []
        main.commit(2, b"c" * 32)
        await settle()
        assert [answer.from_seq for answer in session.wire.sent] == [3]

    run(test)


def test_batches_become_jobs_and_commits_acknowledgements():
    async def test(main: Main) -> None:
        session = await begun(main)
        batches = [session.batch(), session.batch()]
        assert await session.say(*batches) == []
        assert [job.batch for job in main.jobs()] == batches
        assert {(job.source, job.agent, job.received_ms) for job in main.jobs()} == {(SOURCE, AGENT, main.clock.ms)}
        main.commit(2, batches[0].chain)
        main.commit(4, batches[1].chain)
        await settle()
        assert session.wire.sent[1:] == [Ack(4, 1000)]
        main.commit(4, batches[1].chain)
        await settle()
        assert len(session.wire.sent) == 2
        assert session.mailbox.facts()["bytes_out"] == 0

    run(test)


def test_a_heartbeat_is_answered_and_noted():
    async def test(main: Main) -> None:
        session = await begun(main)
        main.clock.advance(10)
        answers = await session.say(Heartbeat(main.clock.ms - 1500, 77, 3, "spool full"))
        assert answers == [Ack(0, 1000)]
        presence = main.fleet.get("007")
        assert presence is not None
        assert (presence.clock_offset_ms, presence.read_through_ms, presence.spooled, presence.stopped) == (
            1500,
            77,
            3,
            "spool full",
        )
        assert presence.seen_ms == main.clock.ms
        await session.say(session.batch())
        assert main.jobs()[0].clock_offset_ms == 1500

    run(test)


def test_what_is_read_through_is_told_behind_the_batches_by_our_clock():
    async def test(main: Main) -> None:
        session = await begun(main)
        await session.say(session.batch())
        through_ms = main.clock.ms - 3000
        await session.say(Heartbeat(main.clock.ms - 1500, 0))
        await session.say(Heartbeat(main.clock.ms - 1500, through_ms))
        await session.say(Heartbeat(main.clock.ms - 1500, main.clock.ms + 10**9))
        told = [message for message in main.emitted if isinstance(message, ReadThrough)]
        assert [(each.source, each.seq, each.at_ms) for each in told] == [
            ("agent/007", main.jobs()[0].batch.count, through_ms + 1500),
            ("agent/007", main.jobs()[0].batch.count, main.clock.ms),
        ]

    run(test)


def test_reading_stops_over_the_credit_and_goes_on_after_a_commit():
    async def test(main: Main) -> None:
        session = await begun(main)
        batches = [session.batch(data=b"x" * 900) for _ in range(4)]
        await session.say(*batches[:2])
        resumed = session.wire.resumed
        assert session.wire.deliver(batches[2]) < 100
        await settle()
        presence = main.fleet.get("007")
        assert presence is not None
        assert (session.wire.resumed, presence.held_back) == (resumed, True)
        assert session.wire.deliver(batches[3]) >= 1000
        await settle()
        assert session.wire.resumed == resumed
        main.commit(batches[2].first_seq + 1, batches[2].chain)
        await settle()
        assert session.wire.resumed > resumed
        assert not presence.held_back
        assert len(main.jobs()) == 4

    run(test)


def test_the_pool_is_shared_evenly_and_given_back():
    async def test(main: Main) -> None:
        sessions = [main.session() for _ in range(4)]
        assert main.credit.share() == 250
        for session in sessions:
            session.wire.close("gone")
        await until(lambda: len(main.exits) == 4, "they end")
        assert main.credit.share() == 1000
        assert all(exited.failure is None for exited in main.exits)

    run(test)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"first_seq": 2}, "from line 1 on"),
        ({"epoch": EPOCH + 1}, f"expected a batch of epoch {EPOCH}"),
        ({"count": 0}, "got epoch 100, 0 lines"),
        ({"count": MAX_BATCH_LINES + 1}, "513 lines"),
        ({"data": bytes(MAX_BATCH_PACKED + 1)}, f"{MAX_BATCH_PACKED + 1} bytes"),
    ],
)
def test_a_batch_that_does_not_follow_is_refused(change: dict[str, Any], complaint: str):
    async def test(main: Main) -> None:
        session = await begun(main)
        said: dict[str, Any] = {"epoch": EPOCH, "first_seq": 1, "count": 2, "chain": bytes(32), "data": b"data"}
        answers = await session.say(Batch(**(said | change)))
        assert [(type(answer), answer.retry_s) for answer in answers] == [(Refused, 1)]
        assert complaint in answers[0].reason
        assert main.jobs() == []
        assert main.exits[0].failure is None

    run(test)


def test_a_batch_of_another_history_asks_for_a_new_epoch():
    async def test(main: Main) -> None:
        session = await begun(main)
        batch = session.batch()
        answers = await session.say(Batch(EPOCH, 1, 2, b"z" * 32, batch.data))
        assert answers == [NewEpoch("the chain differs at line 1: another history", EPOCH)]
        assert main.told() == ["agent epoch refused: the chain differs at line 1: another history"]
        assert main.jobs() == []
        assert session.wire.closed

    run(test)


def test_a_snapshot_is_asked_for_a_new_epoch():
    async def test(main: Main) -> None:
        main.commit(50, b"c" * 32)
        session = main.session()
        answers = await session.say(hello(oldest=10, next=20))
        assert answers == [NewEpoch("line 50 is committed, the agent is only at 19", EPOCH)]

    run(test)


def test_what_comes_before_its_time_is_refused():
    async def test(main: Main) -> None:
        early = main.session()
        assert [type(answer) for answer in await early.say(early.batch())] == [Refused]
        twice = await begun(main)
        assert [answer.reason for answer in await twice.say(hello())] == ["a second hello in one session"]
        other = main.session()
        answers = await other.say(hello(version=PROTOCOL_VERSION + 1))
        assert (answers[0].retry_s, "upgrade the older one" in answers[0].reason) == (0, True)
        silent = main.session()
        silent.mailbox.tell_life(1, HelloDue())
        await settle()
        assert [answer.reason for answer in silent.wire.sent] == ["no hello came"]
        assert HELLO_S < 60
        await until(lambda: len(main.exits) == 4, "all four have ended")

    run(test)


def test_whom_the_registrar_refuses_hears_why():
    async def test(main: Main) -> None:
        main.answer = Admitted(None, "agent 007 was removed")
        session = main.session()
        assert await session.say(hello()) == [Refused("agent 007 was removed", 0)]
        assert main.fleet.get("007") is None

    run(test)


def test_a_newer_session_of_the_same_machine_replaces_the_older_one():
    async def test(main: Main) -> None:
        old = await begun(main)
        new = await begun(main)
        assert old.wire.sent[-1] == Refused("replaced by a newer session", 1)
        await until(lambda: main.exits, "the old one ends")
        presence = main.fleet.get("007")
        assert presence is not None
        assert presence.connected
        assert presence.hangup is not None
        await new.say(new.batch())
        assert len(main.jobs()) == 1
        new.wire.close("gone")
        await settle()
        assert (presence.connected, presence.hangup) == (False, None)

    run(test)


def test_another_machine_with_the_same_identity_is_refused_and_told():
    async def test(main: Main) -> None:
        first = await begun(main)
        clone = main.session()
        answers = await clone.say(hello(machine_id="another"))
        assert [type(answer) for answer in answers] == [Refused]
        assert main.told() == ["agent refused: its identity is in use on another machine"]
        assert not first.wire.closed
        presence = main.fleet.get("007")
        assert presence is not None
        assert presence.connected

    run(test)


def test_a_clock_far_off_is_told_and_bounded():
    async def test(main: Main) -> None:
        await begun(main, clock_ms=main.clock.ms - 3_600_000)
        assert main.told() == ["agent clock: +3600 s off the manager's"]
        far = await begun(main, clock_ms=2**53 - 1)
        await far.say(far.batch())
        assert abs(main.jobs()[0].clock_offset_ms) < 2**43

    run(test)


def test_an_agent_that_was_told_silent_is_told_back():
    async def test(main: Main) -> None:
        main.fleet.of(AGENT).told_silent = True
        await begun(main)
        assert main.told() == ["agent connected again"]

    run(test)


def test_it_ends_in_order_with_a_bye_a_hangup_or_a_shutdown():
    async def test(main: Main) -> None:
        leaving, removed, stopped = await begun(main), main.session(), main.session()
        await leaving.say(Bye("restarting"))
        assert leaving.wire.closed[0] == "restarting"
        await removed.say(hello())
        presence = main.fleet.get("007")
        assert presence is not None
        assert presence.hangup is not None
        presence.hangup("agent 007 was removed", 0)
        assert removed.wire.sent[-1] == Refused("agent 007 was removed", 0)
        stopped.mailbox.shut_down()
        await until(lambda: len(main.exits) == 3, "all have ended")
        assert [exited.failure for exited in main.exits] == [None] * 3
        main.commit(99, b"x")
        await settle()

    run(test)


def test_batches_of_an_earlier_session_are_waited_for():
    async def test(main: Main) -> None:
        main.commit(4, b"c" * 32)
        main.register.under_way[SOURCE] = 1
        session = main.session()
        assert await session.say(hello(oldest=3, next=9)) == []
        main.register.under_way.pop(SOURCE)
        main.commit(6, b"e" * 32)
        await settle()
        assert [type(answer) for answer in session.wire.sent] == [Welcome]
        assert session.wire.sent[0].from_seq == 7

    run(test)


def test_a_commit_of_another_history_is_never_acknowledged():
    async def test(main: Main) -> None:
        session = await begun(main)
        await session.say(session.batch(), session.batch())
        main.commit(2, b"?" * 32)
        await settle()
        assert [type(answer) for answer in session.wire.sent[1:]] == [NewEpoch]
        assert session.wire.closed

    run(test)


def test_a_commit_where_no_batch_of_ours_ends_is_never_acknowledged():
    async def test(main: Main) -> None:
        session = await begun(main)
        await session.say(session.batch(), session.batch())
        main.commit(3, session.chain)
        await settle()
        assert [type(answer) for answer in session.wire.sent[1:]] == [NewEpoch]

    run(test)


# ---- upkeep


def test_two_machines_that_take_one_identity_from_each_other_are_told():
    async def test(main: Main) -> None:
        for number in range(8):
            main.answer = Admitted(msgspec.structs.replace(AGENT, ip=f"10.0.0.{number % 2}"), "")
            await begun(main)
        cloned = [text for text in main.told() if text.startswith("agent cloned: ")]
        assert len(cloned) == 2
        assert "10.0.0.0" in cloned[0]
        assert "10.0.0.1" in cloned[0]

    run(test)


def test_a_certificate_is_renewed_once_at_a_time():
    async def test(main: Main) -> None:
        session = await begun(main)
        assert await session.say(Renew(b"csr"), Renew(b"csr")) == []
        assert main.renewals == [("007", b"csr")]
        session.mailbox.tell(RenewedFor(b"pem", ""))
        await settle()
        assert session.wire.sent[-1] == Renewed(b"pem")
        await session.say(Renew(b"csr2"))
        session.mailbox.tell(RenewedFor(b"", "removed"))
        await settle()
        assert session.wire.sent[-1] == Renewed(b"pem")

    run(test)


def test_nobody_is_configured_or_renewed_before_it_is_known_who_it_is():
    async def test(main: Main) -> None:
        session = main.session()
        assert await session.say(Renew(b"csr"), Configured("v1")) == []
        assert main.renewals == []

    run(test)


def test_what_became_of_an_order_is_said_under_the_name_in_the_certificate():
    async def test(main: Main) -> None:
        said = Responded("007-1-1:drop:001", "done")
        stranger = main.session()
        await stranger.say(said)
        assert main.responded == []
        session = await begun(main, abilities=("respond",))
        await session.say(said)
        assert main.responded == [("007", said)]
        for _ in range(MAX_OUTCOMES // 500):
            await session.say(*[said] * 500)
        assert session.wire.closed[0] == f"more than {MAX_OUTCOMES} outcomes between two heartbeats"
        assert len(main.responded) == MAX_OUTCOMES

    run(test)


def test_what_became_of_a_configuration_is_noted_and_a_refusal_is_told():
    async def test(main: Main) -> None:
        session = await begun(main, config="v0", abilities=("configure",), labels={"site": "berlin"})
        presence = main.fleet.get("007")
        assert presence is not None
        assert (presence.config, presence.abilities) == ("v0", frozenset({"configure"}))
        await session.say(Configured("v1", "", {"site": "rome", "\x1b": "x"}), session.batch())
        assert presence.config == "v1"
        assert main.jobs()[0].agent.labels == (("site", "rome"),)
        await session.say(Configured("v2", "no such thing"))
        assert (presence.config, presence.config_problem) == ("v1", "no such thing")
        assert "configuration refused: no such thing" in main.told()

    run(test)
