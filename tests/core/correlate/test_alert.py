"""An alert as it leaves the lane: one line of JSON, with an id that every replay gives again."""

import json

import msgspec

from hids.core.correlate.alert import alert_id, compose
from hids.core.correlate.expectations import Sender
from hids.core.correlate.window import Entry
from hids.messages.evaluation import EventOut
from hids.messages.outputs import Incident
from hids.messages.rule_table import RuleRow
from hids.messages.terms import Agent, AgentId, SourceId

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
ROW = RuleRow(
    id=5712,
    level=10,
    identity="abc",
    head=b'{"level":10,"description":"brute force","id":"5712",',
    end=b',"mail":true}',
)


def sender(source: str = "agent/007") -> Sender:
    return Sender(SourceId(source), AGENT, 2, 100)


def event(tail: bytes = b'"full_log":"x"', offset: int = 3) -> EventOut:
    return EventOut(offset, 1_700_000_000_123, 0, 0, (), tail, b"x")


def composed(
    previous: tuple[Entry, ...] = (), turn: int = 0, incident: Incident | None = None, row: RuleRow = ROW
) -> bytes:
    return compose(
        sender(),
        event(),
        row,
        ruleset="hids",
        name=alert_id(sender(), event(), turn),
        number=42,
        fired=7,
        timestamp="2023-11-14T22:13:20.123+0000",
        previous=previous,
        incident=incident,
    )


def test_an_alert_is_one_line_of_json():
    line = composed()
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "timestamp": "2023-11-14T22:13:20.123+0000",
        "rule": {"level": 10, "description": "brute force", "id": "5712", "firedtimes": 7, "mail": True},
        "id": "007-2-103",
        "full_log": "x",
        "hids": {
            "number": 42,
            "source": "agent/007",
            "epoch": 2,
            "seq": 103,
            "ruleset": "hids",
            "at_ms": 1_700_000_000_123,
        },
    }


def test_a_composite_shows_what_it_counted_whatever_bytes_that_were():
    line = composed((Entry(2, b'second "quoted"'), Entry(1, b"first \xff\x00\n")), turn=1)
    alert = json.loads(line)
    assert line.count(b"\n") == 1
    assert alert["previous_output"] == 'second "quoted"\nfirst \ufffd\x00\n'
    assert alert["id"] == "007-2-103-1"


def test_an_id_names_agent_epoch_and_sequence():
    assert alert_id(sender(), event(offset=5), 0) == "007-2-105"
    assert alert_id(sender(), event(offset=5), 2) == "007-2-105-2"


def test_a_derived_line_of_the_same_place_has_another_id():
    sources = ("agent/007", "derived/agent/007", "derived/syscheck/007")
    assert len({alert_id(sender(source), event(), 0) for source in sources}) == 3


def test_an_alert_names_its_incident():
    alert = json.loads(composed(incident=Incident("007-2-9", {"srcip": "192.0.2.7"}, "agent")))
    assert alert["hids"]["incident"] == {"id": "007-2-9", "key": {"srcip": "192.0.2.7"}, "news": "agent"}


def test_an_alert_says_when_it_is_no_reason_for_a_response():
    assert "no_ar" not in json.loads(composed())["hids"]
    assert json.loads(composed(row=msgspec.structs.replace(ROW, responds=False)))["hids"]["no_ar"] is True
