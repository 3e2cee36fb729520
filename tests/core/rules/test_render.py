import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.event import Event
from hids.core.decode.header import Header
from hids.core.decode.reading import Reading
from hids.core.rules.render import sender_members, tail
from hids.core.rules.rule import Ruleset
from hids.core.rules.walk import decoded
from hids.messages.lines import LogLine
from hids.messages.terms import Agent, AgentId

Make = Callable[..., Ruleset]
Line = Callable[..., LogLine]
AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")

TEXT = """<decoder name='app'><program_name>^app</program_name></decoder>
<decoder name='app'><parent>app</parent><regex>^(\\S+) (\\S+) (\\S+) (\\S+)</regex>
<order>user,srcip,win.system.id,color</order></decoder>"""


def alert(event: Event, line: LogLine) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(b"{" + tail(event, line, sender_members(AGENT, "boss")) + b"}")
    return result


def test_members_in_wazuhs_order_and_form(make_ruleset: Make, make_line: Line) -> None:
    line = make_line("Nov 24 03:21:42 host1 app[3]: joe 192.0.2.7 4625 red")
    result = alert(decoded(make_ruleset(TEXT), line), line)
    assert result == {
        "agent": {"id": "007", "name": "web1", "ip": "10.0.0.1"},
        "manager": {"name": "boss"},
        "full_log": "Nov 24 03:21:42 host1 app[3]: joe 192.0.2.7 4625 red",
        "predecoder": {"program_name": "app", "timestamp": "Nov 24 03:21:42", "hostname": "host1"},
        "decoder": {"parent": "app", "name": "app"},
        "data": {"srcip": "192.0.2.7", "dstuser": "joe", "win": {"system": {"id": "4625"}}, "color": "red"},
        "location": "/var/log/x",
    }
    assert list(result)[:4] == ["agent", "manager", "full_log", "predecoder"]
    assert list(result["data"]) == ["srcip", "dstuser", "color", "win"]


def test_what_is_not_there_is_left_out(make_ruleset: Make, make_line: Line) -> None:
    line = make_line("no header")
    assert alert(decoded(make_ruleset(TEXT), line), line).keys() == {
        "agent",
        "manager",
        "full_log",
        "decoder",
        "location",
    }


def test_facts_of_the_manager_follow(make_ruleset: Make, make_line: Line) -> None:
    line = make_line("File '/x' added", kind="syscheck", location="syscheck", facts=b'"syscheck":{"path":"/x"}')
    result = alert(decoded(make_ruleset(TEXT), line), line)
    assert result["syscheck"] == {"path": "/x"}
    assert "predecoder" not in result


@given(
    st.dictionaries(st.text(alphabet="ab.", max_size=5), st.binary(max_size=4), max_size=6),
    st.binary(max_size=20),
    st.text(max_size=5),
)
def test_any_fields_and_bytes_give_valid_json(fields: dict[str, bytes], text: bytes, location: str) -> None:
    line = LogLine(location.encode("utf-8", "replace").decode() + "\udcff", text, 0, 0)
    event = Event(line, Header(text, text, text, text, text), Reading(text, "hids", rewrites=False, _all=fields))
    result = alert(event, line)
    assert result["full_log"] == text.decode("utf-8", "replace")
    assert bool(result.get("data")) == bool(fields)


def test_a_name_that_is_taken_stays_whole() -> None:
    line = LogLine("f", b"", 0, 0)
    fields = {"a": b"1", "a.b": b"2", "c.d": b"3", "c": b"4"}
    event = Event(line, Header(None, None, None, b"", b""), Reading(b"", "hids", rewrites=False, _all=fields))
    assert alert(event, line)["data"] == {"a": "1", "a.b": "2", "c": "4", "c.d": "3"}


@pytest.mark.parametrize("program", [b"app", b"", None])
@pytest.mark.parametrize("timestamp", [b"Nov 24", None])
@pytest.mark.parametrize("hostname", [b"web1", None])
def test_parts_of_a_header(program: bytes | None, timestamp: bytes | None, hostname: bytes | None) -> None:
    header = Header(timestamp, hostname, program, b"x", b"x")
    event = Event(LogLine("f", b"x", 0, 0), header, Reading(b"x", "hids", rewrites=False))
    parts = {"program_name": program, "timestamp": timestamp, "hostname": hostname}
    shown = {name: value.decode() for name, value in parts.items() if value}
    assert alert(event, event.line).get("predecoder", {}) == shown


def test_names_of_any_length_do_not_fill_memory(make_ruleset: Make, make_line: Line) -> None:
    ruleset = make_ruleset("<decoder name='j'><prematch>^\\{</prematch><plugin_decoder>json</plugin_decoder></decoder>")
    long = "x" * 60_000
    tracemalloc.start()
    for number in range(100):
        for text in (f"Nov 24 03:21:42 h{number}{long} app: text", f"Nov 24 03:21:42 h p{number}{long}: text"):
            line = make_line(text)
            assert str(number) in str(alert(decoded(ruleset, line), line)["predecoder"])
        line = make_line(json.dumps({f"name{number}{long}": "v"}))
        assert f"name{number}{long}" in alert(decoded(ruleset, line), line)["data"]
    held, _most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4_000_000
