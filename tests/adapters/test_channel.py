"""A channel over a real socket pair: what is sent arrives, and the end is told once, whoever ends it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from waiting import settle, until

from hids.adapters.channel import MAX_MESSAGE_BYTES, Channel, open_channel
from hids.core.wire.frames import frame


class Word(msgspec.Struct, frozen=True, tag="word"):
    text: str


class Number(msgspec.Struct, frozen=True, tag="number"):
    value: int


class End:
    """One end, with what came and how often it was told of the end."""

    def __init__(self, sock: socket.socket) -> None:
        self.got: list[Any] = []
        self.ends = 0
        self.channel: Channel = open_channel(sock, Word | Number, self.got.append, self._ended)

    def _ended(self) -> None:
        self.ends += 1


def run(test: Callable[[End, End], Any]) -> None:
    async def main() -> None:
        one, other = map(End, socket.socketpair())
        await test(one, other)
        one.channel.close()
        other.channel.close()
        await until(lambda: one.ends == other.ends == 1, "both ends are told once")
        await settle()
        assert (one.ends, other.ends) == (1, 1)

    asyncio.run(main())


def test_messages_go_both_ways_in_order_even_before_it_is_open():
    async def test(one: End, other: End) -> None:
        sent = [Number(number) for number in range(500)]
        for message in sent[:250]:
            one.channel.send(message)
        other.channel.send(Word("hello"))
        await until(lambda: len(other.got) == 250, "what was sent early arrives")
        for message in sent[250:]:
            one.channel.send(message)
        await until(lambda: len(other.got) == 500, "the rest arrives")
        assert other.got == sent
        assert one.got == [Word("hello")]

    run(test)


def test_what_is_sent_in_one_turn_goes_out_in_one_write(monkeypatch: pytest.MonkeyPatch):
    async def test(one: End, other: End) -> None:
        await settle()
        writes: list[int] = []
        transport = one.channel._transport
        assert transport is not None
        real = transport.write
        monkeypatch.setattr(transport, "write", lambda data: (writes.append(len(data)), real(data)))
        for number in range(100):
            one.channel.send(Number(number))
        assert one.channel.waiting_bytes > 0
        await until(lambda: len(other.got) == 100, "all arrives")
        assert len(writes) == 1
        one.channel.send(Number(100))
        one.channel.flush()
        one.channel.send(Number(101))
        assert len(writes) == 2
        await until(lambda: len(other.got) == 102, "the rest arrives")
        assert len(writes) == 3
        assert other.got == [Number(number) for number in range(102)]

    run(test)


def test_what_is_queued_is_written_before_the_end():
    async def test(one: End, other: End) -> None:
        await settle()
        big = Word("x" * 1_000_000)
        for _ in range(5):
            one.channel.send(big)
        one.channel.close()
        one.channel.send(Word("too late"))
        await until(lambda: other.ends, "the end arrives")
        assert other.got == [big] * 5

    run(test)


def test_an_end_that_is_closed_before_it_is_open_is_told_too():
    async def test(one: End, other: End) -> None:
        one.channel.close()
        await until(lambda: one.ends and other.ends, "both are told")

    run(test)


def test_the_other_process_ending_is_told():
    async def test(one: End, other: End) -> None:
        other.channel.close()
        await until(lambda: one.ends, "it is told")
        one.channel.send(Word("nobody hears"))
        one.channel.pause()
        one.channel.resume()

    run(test)


def test_nonsense_closes_it():
    async def main() -> None:
        ours, theirs = socket.socketpair()
        end = End(ours)
        theirs.sendall(frame(b"\xc1") + frame(msgspec.msgpack.encode(Word("after"))))
        await until(lambda: end.ends, "it is closed")
        assert end.got == []
        theirs.close()
        ours, theirs = socket.socketpair()
        end = End(ours)
        theirs.sendall((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
        await until(lambda: end.ends, "a length above the limit closes it")
        theirs.close()

    asyncio.run(main())


def test_a_reader_that_pauses_makes_the_writer_hold_the_bytes():
    async def test(one: End, other: End) -> None:
        await settle()
        other.channel.pause()
        for number in range(20):
            one.channel.send(Word(f"{number}" * 200_000))
        await settle()
        assert one.channel.waiting_bytes > 1_000_000
        assert len(other.got) < 20
        other.channel.resume()
        await until(lambda: len(other.got) == 20, "all arrives")
        await until(lambda: one.channel.waiting_bytes == 0, "nothing is held")

    run(test)
