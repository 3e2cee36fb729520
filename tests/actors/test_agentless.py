"""Looking at a host: the first look, changes, failures and their end."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from waiting import SetClock, until

from hids.actors.agentless import Agentless, Check, Due, difference
from hids.actors.stage import Mailbox
from hids.actors.syslog_intake import Arrived
from hids.messages.terms import MANAGER, Agent


class Bench:
    """A check of a host that shows what the test says."""

    def __init__(self, kind: Any = "diff") -> None:
        self.shows: tuple[bytes, str] = (b"", "")
        self.kept: bytes | None = None
        self.told: list[Any] = []
        self.intake = Mailbox("intake", 100)
        self.mailbox = Mailbox("agentless-1")
        Agentless.start(
            self.mailbox,
            Check("(ssh_x) root@fw1->agentless", kind, "show", 3600.0),
            self.look,
            lambda: self.kept,
            self.keep,
            self.intake,
            Agent(MANAGER, "boss", ""),
            SetClock(),
            self.told.append,
        )

    async def look(self) -> tuple[bytes, str]:
        return self.shows

    def keep(self, text: bytes) -> None:
        self.kept = text

    async def see(self, text: bytes, problem: str = "") -> list[bytes]:
        """The host shows this; the lines that come of it."""
        self.shows = (text, problem)
        looks = self.mailbox.facts()["looks"]
        self.mailbox.tell_life(self.mailbox.life, Due())
        await until(lambda: self.mailbox.facts()["looks"] > looks, "a look")
        lease = self.intake.lease(lambda: None)
        lines: list[bytes] = []
        while self.intake.depth:
            message = lease.get().message
            assert isinstance(message, Arrived)
            assert {line.location for line in message.lines} == {"(ssh_x) root@fw1->agentless"}
            lines += [line.text for line in message.lines]
        return lines


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_the_first_look_is_the_baseline_and_later_ones_tell_what_has_changed():
    async def test() -> None:
        bench = Bench()
        assert await bench.see(b"a\nb\n") == []
        assert bench.kept == b"a\nb\n"
        assert await bench.see(b"a\nb\n") == []
        assert await bench.see(b"a\nc\n") == [b"ossec: agentless: Change detected:\n< b\n> c"]
        assert bench.kept == b"a\nc\n"
        assert await bench.see(b"c\na\n") != []
        bench.mailbox.shut_down()
        await asyncio.sleep(0)

    run(test)


def test_a_failure_is_told_once_and_changes_nothing():
    async def test() -> None:
        bench = Bench()
        await bench.see(b"a\n")
        for _ in range(2):
            assert await bench.see(b"", "no answer") == []
        assert [told.text for told in bench.told] == ["agentless failed: (ssh_x) root@fw1->agentless: no answer"]
        assert bench.kept == b"a\n"
        assert await bench.see(b"a\n") == []
        await bench.see(b"", "no answer")
        assert len(bench.told) == 2
        bench.mailbox.shut_down()
        await asyncio.sleep(0)

    run(test)


def test_a_commands_lines_are_logs():
    async def test() -> None:
        bench = Bench("command")
        lines = await bench.see(b"one\n\ntwo\r\n")
        assert lines == [b"ossec: output: 'show': one", b"ossec: output: 'show': two"]
        assert bench.kept is None
        bench.mailbox.shut_down()
        await asyncio.sleep(0)

    run(test)


ROWS = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=8)


@given(ROWS, ROWS)
def test_a_difference_tells_what_is_gone_and_what_has_come(before: list[bytes], after: list[bytes]):
    told = difference(b"\n".join(before), b"\n".join(after)).split(b"\n")
    for row in {row for row in before if row not in after}:
        assert b"< " + row in told
    for row in {row for row in after if row not in before}:
        assert b"> " + row in told


def test_what_is_too_long_to_align_is_told_all_the_same():
    before = b"\n".join(b"%d" % number for number in range(2000))
    assert difference(before, before + b"\nnew").split(b"\n") == [b"> new"]
    assert difference(b"a\nb", b"b\na") != b""
