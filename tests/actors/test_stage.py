"""The mailbox that outlives a crash, and the two ways of running."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from waiting import settle, until

from hids.actors.stage import (
    BURST,
    Control,
    Exited,
    Expected,
    LoopActor,
    Mailbox,
    MailboxFull,
    Superseded,
    ThreadActor,
    Wake,
    describe,
)


class Poke(Control):
    """A control message of the tests."""


class Dud(Exception):  # noqa: N818 - what the tests' actors die of
    """The failure of a test."""


class _Notes:
    """What the lives of one actor did."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.exits: list[Exited] = []
        self.closed = 0


class Recorder(LoopActor):
    """Notes what it gets; fails at "dud"."""

    def __init__(self, mailbox: Mailbox, notes: _Notes, fails: Callable[[Any], bool] = lambda m: m == "dud") -> None:
        super().__init__(mailbox)
        self._notes = notes
        self._fails = fails

    def on_receive(self, message: Any) -> Any:
        if self._fails(message):
            raise Dud(f"cannot take {message}")
        self._notes.seen.append(message)
        return message

    def closing(self) -> None:
        self._notes.closed += 1


class Blocking(ThreadActor):
    """The same on a thread; waits while `gate` is closed."""

    def __init__(self, mailbox: Mailbox, notes: _Notes, gate: threading.Event | None = None) -> None:
        super().__init__(mailbox)
        self._notes = notes
        self._gate = gate

    def on_receive(self, message: Any) -> Any:
        if message == "dud":
            raise Dud("cannot take dud")
        if self._gate is not None:
            self._gate.wait(10)
        self._notes.seen.append(message)
        return message

    def closing(self) -> None:
        self._notes.closed += 1


def place(notes: _Notes, bound: int = 64) -> Mailbox:
    mailbox = Mailbox("place", bound)
    mailbox.on_exit = notes.exits.append
    return mailbox


def restarting(notes: _Notes, start: Callable[[Mailbox], object], bound: int = 1000) -> Mailbox:
    """A mailbox whose actor is started anew after each failure, as a supervisor does."""
    mailbox = Mailbox("place", bound)

    def again(exited: Exited) -> None:
        notes.exits.append(exited)
        start(mailbox)

    mailbox.on_exit = again
    start(mailbox)
    return mailbox


# ---- loop actors


def test_messages_arrive_in_order_and_are_counted():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes, 1000)
        Recorder.start(mailbox, notes)
        for number in range(3 * BURST + 1):
            mailbox.tell(number)
        await until(lambda: len(notes.seen) == 3 * BURST + 1, "all are handled")
        assert notes.seen == list(range(3 * BURST + 1))
        assert (mailbox.handled, mailbox.depth) == (3 * BURST + 1, 0)

    asyncio.run(main())


def test_only_the_message_being_handled_is_lost_in_a_crash():
    """40 crashes in 4,000 messages: 40 lost, the order kept."""

    async def main() -> None:
        notes = _Notes()
        mailbox = restarting(
            notes, lambda mailbox: Recorder.start(mailbox, notes, fails=lambda number: number % 100 == 50), 5000
        )
        for number in range(4000):
            mailbox.tell(number)
        await until(lambda: mailbox.empty() and notes.seen[-1:] == [3999], "all are handled")
        assert notes.seen == [number for number in range(4000) if number % 100 != 50]
        assert len(notes.exits) == notes.closed == 40
        assert notes.exits[0].failure == "Dud: cannot take 50"
        assert [exited.life for exited in notes.exits] == list(range(1, 41))
        assert mailbox.handled == 4000

    asyncio.run(main())


def test_a_life_that_could_not_begin_takes_no_message():
    class Stillborn(Recorder):
        def __init__(self, mailbox: Mailbox, notes: _Notes) -> None:
            super().__init__(mailbox, notes)
            raise Dud("not today")

    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        with pytest.raises(Dud):
            Stillborn.start(mailbox, notes)
        mailbox.tell("kept")
        await settle()
        assert (notes.seen, notes.exits, mailbox.depth) == ([], [], 1)
        Recorder.start(mailbox, notes)
        await until(lambda: notes.seen == ["kept"], "the next life takes it")

    asyncio.run(main())


def test_control_messages_go_first_and_are_never_refused():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes, 2)
        mailbox.tell("one")
        mailbox.tell("two")
        for _ in range(100):
            mailbox.tell(Poke())
        Recorder.start(mailbox, notes)
        await until(lambda: len(notes.seen) == 102, "all are handled")
        assert notes.seen[-2:] == ["one", "two"]
        assert mailbox.handled == 2

    asyncio.run(main())


def test_a_full_mailbox_is_told_to_senders_on_a_loop():
    async def main() -> None:
        mailbox = Mailbox("busy", 2)
        mailbox.tell(1)
        mailbox.tell(2)
        with pytest.raises(MailboxFull, match="busy holds 2 messages"):
            mailbox.tell(3)
        assert mailbox.depth == 2

    asyncio.run(main())


def test_a_sender_on_a_thread_waits_until_there_is_room():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes, 2)
        sent: list[int] = []

        def send() -> None:
            for number in range(50):
                mailbox.tell(number)
                sent.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        await until(lambda: len(sent) == 2 and mailbox.depth == 2, "it waits")
        Recorder.start(mailbox, notes)
        await until(lambda: len(notes.seen) == 50, "all are handled")
        thread.join(10)
        assert notes.seen == list(range(50))

    asyncio.run(main())


def test_many_wakes_make_one_message():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        for _ in range(10):
            mailbox.wake()
        Recorder.start(mailbox, notes)
        await until(lambda: notes.seen, "it wakes")
        await settle()
        assert len(notes.seen) == 1
        assert isinstance(notes.seen[0], Wake)
        mailbox.wake()
        await until(lambda: len(notes.seen) == 2, "it wakes again")

    asyncio.run(main())


def test_a_shutdown_ends_a_life_in_order_and_leaves_the_messages():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        Recorder.start(mailbox, notes)
        await settle()
        mailbox.shut_down()
        mailbox.tell("for the next life")
        await until(lambda: notes.exits, "it stops")
        assert (notes.exits[0].failure, notes.closed, mailbox.depth) == (None, 1, 1)
        Recorder.start(mailbox, notes)
        await until(lambda: notes.seen == ["for the next life"], "the next life reads on")

    asyncio.run(main())


def test_a_superseded_life_reads_nothing_more_and_says_nothing():
    async def main() -> None:
        old, new = _Notes(), _Notes()
        mailbox = place(new)
        first = Recorder.start(mailbox, old)
        Recorder.start(mailbox, new)
        for number in range(10):
            mailbox.tell(number)
        first.tell("to the old reference")
        await until(lambda: len(new.seen) == 11, "the new life reads")
        assert (old.seen, new.exits) == ([], [])
        with pytest.raises(Superseded):
            mailbox.take(1, wait=False)

    asyncio.run(main())


def test_a_superseded_life_gives_back_what_it_holds():
    async def main() -> None:
        old, new = _Notes(), _Notes()
        mailbox = place(new)
        Recorder.start(mailbox, old)
        await settle()
        Recorder.start(mailbox, new)
        await until(lambda: old.closed == 1, "the old life closes")
        await settle()
        assert (old.closed, new.closed, new.exits) == (1, 0, [])

    asyncio.run(main())


def test_an_answer_comes_back_to_the_loop_and_a_failure_too():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        Recorder.start(mailbox, notes)
        assert await mailbox.request("hello") == "hello"
        with pytest.raises(Dud, match="cannot take dud"):
            await mailbox.request("dud")
        assert notes.exits == []
        assert await mailbox.request("still here") == "still here"

    asyncio.run(main())


def test_a_busy_actor_leaves_the_loop_to_others():
    async def main() -> None:
        loud, quiet = _Notes(), _Notes()
        busy, other = place(loud, 10_000), place(quiet)
        Recorder.start(busy, loud)
        done_by_then: list[int] = []
        Recorder.start(other, quiet, fails=lambda _: bool(done_by_then.append(len(loud.seen))))
        for number in range(10 * BURST):
            busy.tell(number)
        other.tell("me too")
        await until(lambda: quiet.seen, "the other has its turn")
        assert done_by_then[0] <= 2 * BURST

    asyncio.run(main())


def test_an_expected_failure_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture):
    class Gone(Expected):
        """The world's doing."""

    class Fragile(Recorder):
        def on_receive(self, message: Any) -> Any:
            raise Gone("its process ended")

    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        reference = Fragile.start(mailbox, notes)
        mailbox.tell("x")
        await until(lambda: notes.exits, "it ends")
        assert notes.exits[0].failure == "Gone: its process ended"
        assert not reference.is_alive()

    asyncio.run(main())
    assert "Traceback" not in caplog.text
    assert caplog.records == []


# ---- thread actors


def test_a_thread_loses_only_the_message_being_handled_too():
    async def main() -> None:
        notes = _Notes()
        mailbox = restarting(notes, lambda mailbox: Blocking.start(mailbox, notes))
        for number in range(300):
            mailbox.tell("dud" if number % 100 == 50 else number)
        await until(lambda: notes.seen[-1:] == [299], "all are handled")
        assert notes.seen == [number for number in range(300) if number % 100 != 50]
        assert len(notes.exits) == notes.closed == 3

    asyncio.run(main())


def test_a_thread_answers_a_request_from_a_loop():
    async def main() -> None:
        notes = _Notes()
        mailbox = place(notes)
        Blocking.start(mailbox, notes)
        assert await mailbox.request(5) == 5
        with pytest.raises(Dud):
            await mailbox.request("dud")
        assert await mailbox.request(6) == 6
        mailbox.shut_down()
        await until(lambda: notes.exits, "it stops")
        assert (notes.exits[0].failure, notes.closed) == (None, 1)

    asyncio.run(main())


def test_a_hung_thread_that_was_replaced_reads_nothing_more():
    async def main() -> None:
        notes, fresh = _Notes(), _Notes()
        gate = threading.Event()
        mailbox = place(fresh)
        hung = Blocking.start(mailbox, notes, gate)
        mailbox.tell("hangs")
        await until(lambda: mailbox.depth == 0, "it is taken")
        Blocking.start(mailbox, fresh)
        mailbox.tell("for the new one")
        await until(lambda: fresh.seen == ["for the new one"], "the new life works")
        gate.set()
        await until(lambda: not hung.is_alive(), "the old one ends")
        assert (notes.seen, fresh.exits) == (["hangs"], [])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [(None, "unknown"), (Dud(), "Dud"), (Dud("two\n  lines"), "Dud: two lines")],
)
def test_a_failure_is_one_line(error: BaseException | None, told: str):
    assert describe(error) == told
