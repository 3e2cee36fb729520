"""Lines that the lane writes itself."""

import msgspec

from hids.core.correlate.words import lent_line, lost, noticed, words_about
from hids.messages.evaluation import Dropped, Lending, Lent, Outcome
from hids.messages.lane import Hole, Notice, Progress
from hids.messages.terms import Agent, AgentId, SourceId

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
NOW_MS = 1_795_490_502_000


def test_a_hole_moves_progress_over_what_is_lost_and_says_so():
    applied = lost(Hole(SourceId("agent/007"), AGENT, 3, 5, 9, b"c" * 32, "the agent no longer has them"), NOW_MS)
    assert (applied.progress, applied.first, applied.counts) == (Progress(3, 9, b"c" * 32), 5, {"lost": 5})
    ((kind, line),) = applied.lines
    assert (kind, line.kind, line.at_ms) == ("agent", "agent", NOW_MS)
    assert line.text == b"lines lost: 5 to 9 of epoch 3: the agent no longer has them"


def test_a_notice_is_a_line_of_its_agent_and_keeps_its_number():
    applied = noticed(Notice("boot", 4, AGENT, "agent connected again \udcff", NOW_MS))
    assert (applied.source, applied.notice, applied.progress) == ("derived/agent/007", 4, None)
    assert applied.lines[0][1].text == b"agent connected again ?"


def test_letters_are_told_but_those_about_letters():
    letters = (Dropped(1, "poison", b"line"), Dropped(0, "malformed", packed=b"x"))

    def outcome(source: str) -> Outcome:
        return Outcome(SourceId(source), AGENT, 2, 10, 2, b"", b"", 1, b"")

    assert [line.text for _, line in words_about(outcome("agent/007"), letters, NOW_MS)] == [
        b"line set aside: 11 of epoch 2: it ended a process of the manager twice",
        b"line set aside: 10 of epoch 2: its batch is malformed",
    ]
    assert list(words_about(outcome("derived/agent/007"), letters, NOW_MS)) == []


def test_an_event_that_is_lent_fields_comes_once_more_as_it_was():
    lent = Lent("ossec", {"srcip": b"192.0.2.7"})
    line = lent_line(Lending(0, NOW_MS, 0, b"id=1", {}, "/var/log/auth.log", b"conn=1 user ann"), lent)
    assert (line.location, line.text, line.at_ms) == ("/var/log/auth.log", b"conn=1 user ann", NOW_MS)
    assert msgspec.msgpack.decode(line.facts, type=Lent) == lent
