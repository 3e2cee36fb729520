"""A sender with a destination that takes half, never takes some, or has a bug: the rest always goes on."""

import asyncio
from collections.abc import Awaitable, Callable

from waiting import until

from hids.actors.sender import Sender
from hids.actors.stage import Mailbox
from hids.core.delivery import Cursor, Delivery, Refused
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed

Post = Callable[[Delivery], Awaitable[None]]


class Memory:
    """A store in memory, whose alerts are b"1" to b"10", in deliveries of five."""

    def __init__(self, cursor: Cursor) -> None:
        self.saved = [cursor]
        self.dead: list[tuple[bytes, str]] = []
        self.full = False

    def cursor(self) -> Cursor:
        return self.saved[-1]

    def save(self, cursor: Cursor) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.saved.append(cursor)

    def newest(self) -> int:
        return 10

    def next(self, after: int, upto: int) -> Delivery | None:
        last = upto if upto > after else min(10, after + 5)
        return Delivery(after + 1, last, tuple(b"%d" % n for n in range(after + 1, last + 1))) if after < last else None

    def set_aside(self, alert: bytes, reason: str) -> None:
        self.dead.append((alert, reason))


class Bench:
    """A destination made of a function, and what it was given."""

    def __init__(self, answer: Callable[[int, Delivery], None], cursor: Cursor) -> None:
        self.tries: list[tuple[str, tuple[bytes, ...]]] = []
        self.store = Memory(cursor)
        self._answer = answer

    async def post(self, delivery: Delivery) -> None:
        self.tries.append((delivery.id, delivery.alerts))
        self._answer(len(self.tries), delivery)

    async def close(self) -> None:
        pass


def run(answer: Callable[[int, Delivery], None], cursor: Cursor | None = None, *, upto: int = 10) -> Bench:
    """Let a sender work until all is taken."""
    bench = Bench(answer, cursor or Cursor())

    async def main() -> None:
        mailbox, exits, cursors = Mailbox("test:one"), [], []
        mailbox.on_exit = exits.append

        def moved(message: Cursors) -> None:
            cursors.append(message.positions["test:one"])

        Sender.start(mailbox, bench.store, bench, moved, first_pause_s=0.001, max_pause_s=0.002)
        mailbox.tell(Outboxed(upto + 1))
        await until(lambda: cursors[-1:] == [upto] or exits, "all is taken")
        mailbox.tell(Outboxed(upto + 1))
        await until(lambda: mailbox.depth == 0, "no news is heard")
        assert len(cursors) == len(set(cursors))  # what is told comes back as news, and must come to rest
        assert mailbox.facts()["lag"] == 0
        assert mailbox.facts()["dead_letters"] == len(bench.store.dead)
        assert mailbox.facts()["sent"] == upto - bench.store.saved[0].taken - len(bench.store.dead) - len(
            bench.store.saved[0].settled
        )
        mailbox.shut_down()
        await until(lambda: exits, "it stops")
        assert exits[0].failure is None

    asyncio.run(main())
    return bench


def test_what_was_taken_of_a_delivery_is_not_sent_again():
    def half(number: int, delivery: Delivery) -> None:
        if number == 1:
            raise Refused("half of it", taken=frozenset({0, 2}))

    bench = run(half)
    assert bench.tries == [
        ("1-5", (b"1", b"2", b"3", b"4", b"5")),
        ("1-5", (b"2", b"4", b"5")),
        ("6-10", (b"6", b"7", b"8", b"9", b"10")),
    ]
    assert Cursor(0, 5, (0, 2)) in bench.store.saved
    assert bench.store.saved[-1] == Cursor(10)


def test_the_next_life_knows_what_was_taken():
    bench = run(lambda _number, _delivery: None, Cursor(0, 5, (1, 3)))
    assert bench.tries[0] == ("1-5", (b"1", b"3", b"5"))


def test_what_will_never_be_taken_is_set_aside_and_the_rest_goes_on():
    def picky(number: int, delivery: Delivery) -> None:
        hopeless = {place: "too odd" for place, alert in enumerate(delivery.alerts) if alert in (b"2", b"5")}
        if hopeless:
            raise Refused("some of it", hopeless=hopeless, taken=frozenset({0}) if number == 1 else frozenset())

    bench = run(picky)
    assert bench.store.dead == [(b"2", "too odd"), (b"5", "too odd")]
    assert bench.tries[1] == ("1-5", (b"3", b"4"))


def test_a_delivery_of_which_nothing_is_left_is_not_tried_again():
    def none(number: int, delivery: Delivery) -> None:
        if number == 1:
            raise Refused("no", hopeless=dict.fromkeys(range(5), "no"))

    assert [delivery for delivery, _ in run(none).tries] == ["1-5", "6-10"]


def test_a_bug_costs_the_alert_that_brings_it_out_and_no_other():
    taken: list[bytes] = []

    def buggy(number: int, delivery: Delivery) -> None:
        if b"3" in delivery.alerts:
            raise ZeroDivisionError("oh")
        taken.extend(delivery.alerts)

    bench = run(buggy)
    assert [alert for alert, _ in bench.store.dead] == [b"3"]
    assert "ZeroDivisionError: oh" in bench.store.dead[0][1]
    assert sorted(taken, key=int) == [b"%d" % n for n in range(1, 11) if n != 3]


def test_a_bug_that_passes_costs_nothing():
    def once(number: int, delivery: Delivery) -> None:
        if number == 1:
            raise ZeroDivisionError

    assert run(once).store.dead == []


class Later(Bench):
    """Gathers what it gets, and sends it when it is due."""

    def __init__(self) -> None:
        super().__init__(lambda _number, _delivery: None, Cursor())
        self.flushed = 0
        self.refuse = 2

    def due_s(self) -> float | None:
        return None if self.flushed or not self.tries else 0.001

    async def flush(self, *, everything: bool = False) -> None:
        if self.refuse:
            self.refuse -= 1
            raise Refused("not yet")
        self.flushed += 1


def test_a_destination_that_does_things_later_is_called_when_they_are_due():
    async def main() -> None:
        bench, mailbox, exits = Later(), Mailbox("test:later"), []
        mailbox.on_exit = exits.append
        Sender.start(mailbox, bench.store, bench, lambda _message: None, first_pause_s=0.001, max_pause_s=0.002)
        mailbox.tell(Outboxed(11))
        await until(lambda: bench.flushed, "it is called until it succeeds")
        assert bench.refuse == 0
        mailbox.shut_down()
        await until(lambda: exits, "it stops")

    asyncio.run(main())
