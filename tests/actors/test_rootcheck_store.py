"""RootcheckStore: notes before it hands on, and does not stop when its file cannot be written."""

import asyncio
import sqlite3

import msgspec
import pytest
from waiting import until

from hids.actors.rootcheck_store import RootcheckStore
from hids.actors.stage import Mailbox
from hids.core.rootcheck.report import Said
from hids.messages.lane import Applied, Place, Progress
from hids.messages.terms import Agent, AgentId, SourceId

APPLIED = Applied(
    SourceId("agent/001"),
    Agent(AgentId("001"), "web1", ""),
    progress=Progress(7, 3, b""),
    findings=((5, b"a"), (6, b"Ending rootcheck scan.")),
)


class File:
    def __init__(self, out: list[object], error: Exception | None = None) -> None:
        self._out = out
        self._error = error

    def note(self, agent: str, name: str, place: Place, said: list[tuple[int, Said]]) -> None:
        if self._error is not None:
            raise self._error
        self._out.append((agent, name, place.seq, [(at_ms, each.what) for at_ms, each in said]))


@pytest.mark.parametrize("error", [None, sqlite3.OperationalError("disk full")])
def test_it_notes_and_hands_on(error: Exception | None):
    async def scene() -> None:
        out: list[object] = []
        bare = msgspec.structs.replace(APPLIED, findings=())
        mailbox = Mailbox("rootcheck_store")
        RootcheckStore.start(mailbox, File(out, error), out.append)
        mailbox.tell(APPLIED)
        mailbox.tell(bare)
        await until(lambda: len(out) == (2 if error else 3), "both")
        if error is None:
            assert out[0] == ("001", "web1", 3, [(5, "finding"), (6, "ending")])
        assert out[-2:] == [bare] * 2
        assert mailbox.facts() == ({"lines": 0, "failed": 1} if error else {"lines": 2, "failed": 0})

    asyncio.run(scene())
