"""Audit lines: one line each, and OSSEC's words where it has some."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.event import Origin
from hids.core.dialect import Dialect
from hids.core.response.audit import audit_line, in_upstream_words
from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile
from hids.core.rules.walk import decoded, judge, naive
from hids.messages.evaluation import FINAL
from hids.messages.lines import LogLine
from hids.messages.response import ResponseOrder

ORDER = ResponseOrder(
    id="001-1-5:drop:001", agent="001", response="drop", command="firewall-drop", action="firewall-drop",
    address="192.0.2.7", reference="1795488829.4711", rule="5712", why="brute force", until_ms=1_795_489_429_000,
)  # fmt: skip
AT_MS = 1_795_490_502_000


def test_a_line_has_it_all():
    line = audit_line("done", ORDER, what="add", signature=b"abc")
    assert line == (
        "done add firewall-drop - 192.0.2.7 1795488829.4711 5712 id=001-1-5:drop:001 until=1795489429000 sig=YWJj brute force"
    )


@given(st.text(), st.text())
def test_nothing_breaks_out_of_its_line(why: str, id_: str):
    order = ResponseOrder(id=id_, agent="1", response="r", command="c", action="a", why=why)
    line = audit_line("failed", order, what="add", signature=b"", text=why)
    assert len(line.splitlines()) == 1
    assert line.startswith("failed add a - - - - id=")


def test_ossec_and_wazuh_see_what_their_scripts_would_have_written():
    line = audit_line("done", ORDER, what="add", signature=b"abc").encode()
    assert in_upstream_words(line, AT_MS) == (
        b"Tue Nov 24 03:21:42 UTC 2026 /var/ossec/active-response/bin/firewall-drop.sh add - 192.0.2.7 1795488829.4711 5712"
    )
    assert in_upstream_words(line.replace(b"done", b"failed"), AT_MS) is None
    by_hand = audit_line(
        "undone", ResponseOrder("x", "1", "by hand", "n", "n.sh"), what="delete", signature=b""
    ).encode()
    assert (in_upstream_words(by_hand, AT_MS) or b"").endswith(b"/n.sh delete - - (from_the_server) (no_rule_id)")


FILES = {
    "ossec": ("decoders/decoder.xml", "rules/rules_config.xml", "rules/ossec_rules.xml"),
    "wazuh": (
        "decoders/0010-active-response_decoders.xml",
        "decoders/0200-ossec_decoders.xml",
        "rules/0010-rules_config.xml",
        "rules/0015-ossec_rules.xml",
    ),
}


@pytest.fixture(scope="module")
def stock() -> Callable[[Dialect], Ruleset]:
    """A function: OSSEC's or Wazuh's own rules about the product."""
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        pytest.skip("HIDS_CONFORMANCE is not set to the folder of the conformance data")

    @cache
    def make(dialect: Dialect) -> Ruleset:
        return load(dialect, dialect, [SourceFile(f, Path(folder, dialect, f).read_bytes()) for f in FILES[dialect]])

    return make


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize(
    ("action", "what", "rule"),
    [
        ("firewall-drop", "add", 601),
        ("firewall-drop", "delete", 602),
        ("host-deny", "add", 603),
        ("host-deny", "delete", 604),
        ("route-null", "add", 605),
        ("route-null", "delete", 606),
    ],
)
def test_their_own_rules_fire(stock: Callable[[Dialect], Ruleset], dialect: Dialect, action: str, what: str, rule: int):
    ruleset = stock(dialect)
    order = msgspec.structs.replace(ORDER, action=action)
    text = audit_line("done" if what == "add" else "undone", order, what=what, signature=b"abc").encode()
    event = decoded(ruleset, LogLine("active-responses", text, AT_MS, AT_MS, "response"), Origin(b"web1"))
    verdict = judge(ruleset, event)
    assert verdict is not None
    assert [ruleset.rules[node[1]].id for node in naive(ruleset, event) if node[0] == FINAL] == [rule]
    assert event.fields["srcip"] == b"192.0.2.7"
