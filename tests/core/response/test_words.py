"""What is said of orders that are not carried out, and how often."""

from typing import Any

import msgspec

from hids.core.response.decide import Verdict
from hids.core.response.words import MAX_SAID, SILENT_MS, Words
from hids.messages.responder import Enlisted
from hids.messages.response import ResponseOrder
from hids.messages.terms import AgentId

NOW_MS = 1_795_490_502_000
WEB1 = Enlisted(AgentId("001"), "web1")


def verdict(address: str = "192.0.2.7", **changes: Any) -> Verdict:
    order = ResponseOrder("1:drop:001", "001", "drop", "firewall-drop", "firewall-drop", address=address, rule="201250")
    return msgspec.structs.replace(Verdict(order, WEB1, "refused", "it is a gateway"), **changes)


def test_each_state_in_words() -> None:
    words = Words()
    assert words.about(verdict(state="open"), NOW_MS) == ""
    what = "drop: firewall-drop 192.0.2.7 on web1, rule 201250"
    assert words.about(verdict(), NOW_MS) == f"response refused: {what}: it is a gateway"
    assert words.about(verdict(state="shadow"), NOW_MS) == f"response shadow: {what}: it is a gateway"
    assert words.about(verdict(address="", state="stale"), NOW_MS).startswith(
        "response stale: drop: firewall-drop - on"
    )


def test_a_flood_of_refusals_is_recorded_once_an_hour_for_each_target() -> None:
    words = Words()
    assert words.is_new(verdict(), NOW_MS)
    assert not words.is_new(verdict(), NOW_MS + SILENT_MS - 1)
    assert words.is_new(verdict("192.0.2.8"), NOW_MS)
    assert words.is_new(verdict(state="stale"), NOW_MS)
    assert words.is_new(verdict(), NOW_MS + SILENT_MS)
    assert all(words.is_new(verdict(state="open"), NOW_MS) for _ in range(3))


def test_a_used_up_budget_and_stale_alerts_are_said_once_an_hour_whoever_the_targets_are() -> None:
    words = Words()
    for over in (verdict(over_budget=True), verdict(state="stale")):
        assert words.about(over, NOW_MS)
        other = msgspec.structs.replace(over, order=msgspec.structs.replace(over.order, address="192.0.2.9"))
        assert not words.about(other, NOW_MS + 1)
        assert words.about(other, NOW_MS + SILENT_MS)


def test_what_is_remembered_is_bounded() -> None:
    words = Words()
    for number in range(MAX_SAID + 1):
        words.is_new(verdict(f"192.0.2.7-{number}"), NOW_MS)
    assert words.is_new(verdict("192.0.2.7-0"), NOW_MS), "the oldest was forgotten"
    assert not words.is_new(verdict(f"192.0.2.7-{MAX_SAID}"), NOW_MS)
