"""Who sent a line: upstream's rules see it in host and location."""

import asyncio

import pytest
from waiting import until

from hids.actors.decoder import Decoder, Recognition
from hids.actors.stage import Mailbox
from hids.core.dialect import Dialect
from hids.core.rules.load import load
from hids.core.rules.plan import compile_plan
from hids.core.rules.rule import SourceFile
from hids.core.wire.lines import pack
from hids.messages.evaluation import Job
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import MANAGER, Agent, AgentId, SourceId

RULES = (
    b'<group name="g"><rule id="%d" level="%d"><category>syslog</category><description>d</description></rule></group>'
)
TEXT = b"Nov 24 03:21:42 web1 app: x"


def hosts(dialect: Dialect, agent: Agent) -> tuple[bytes | None, bytes]:
    """Host and location of one line."""
    plan = compile_plan(load("t", dialect, [SourceFile("r.xml", RULES % (1, 0))]))
    got: list[Recognition] = []

    async def run() -> None:
        mailbox = Mailbox("decoder", 10)
        Decoder.start(mailbox, [plan], lambda _number, _offset: None, got.append)
        batch = Batch(epoch=1, first_seq=1, count=1, chain=b"", data=pack([LogLine("/l", TEXT, 0, 0)]))
        mailbox.tell(Job(source=SourceId("agent/x"), agent=agent, batch=batch, received_ms=0))
        await until(lambda: bool(got), "the batch is recognised")

    asyncio.run(run())
    recognised = got[0].events[0][0]
    assert recognised is not None
    return recognised.hostname, recognised.whole_location


@pytest.mark.parametrize(
    ("dialect", "host", "location"),
    [("ossec", b"(pc7) 10.0.0.7->/l", b"(pc7) 10.0.0.7->/l"), ("wazuh", b"pc7", b"(pc7) 10.0.0.7->/l")],
)
def test_lines_of_agents(dialect: Dialect, host: bytes, location: bytes) -> None:
    assert hosts(dialect, Agent(AgentId("007"), "pc7", "10.0.0.7")) == (host, location)


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_the_managers_own_lines(dialect: Dialect) -> None:
    assert hosts(dialect, Agent(MANAGER, "boss", "")) == (b"web1", b"/l")
