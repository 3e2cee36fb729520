"""`hidsctl response` without a manager: what is on disk, what would have been done, and an ossec.conf taken over."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli
from typer.testing import CliRunner

from hids.adapters.responses import ResponseStore
from hids.cli.hidsctl import app
from hids.core.response.ledger import Kept, OrderRow
from hids.core.response.order import pack
from hids.messages.response import Respond, ResponseOrder
from hids.messages.terms import AgentId

Run = Callable[..., str]
NOW_MS = 4_000_000_000_000
CONFIG = """
[responses]
per_minute = 3
allow = ["192.0.2.50"]
[[command]]
name = "page"
executable = "page.sh"
[[response]]
command = "firewall-drop"
name = "drop"
level = 5
repeated_offenders = [60]
[[response]]
command = "page"
rules = [999999]
location = "all"
match = "all"
disabled = true
"""


def row(number: int, **changes: Any) -> OrderRow:
    members = {
        "id": f"o{number}", "at_ms": NOW_MS + number, "agent": AgentId("001"), "agent_name": "web1", "response": "drop",
        "command": "firewall-drop", "action": "firewall-drop", "target": f"192.0.2.{number}", "alert": f"a{number}",
        "rule": "5712", "why": "brute force", "until_ms": 0, "state": "done",
    }  # fmt: skip
    return OrderRow(**(members | changes))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function: runs hidsctl on a state folder; its status must be the one that is expected."""
    (tmp_path / "manager.toml").write_text(CONFIG)

    def go(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, ["--state", str(tmp_path), "response", *arguments])
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    return go


@pytest.fixture
def book(tmp_path: Path) -> ResponseStore:
    store = ResponseStore(tmp_path / "responses.db")
    order = ResponseOrder(id="o1", agent="001", response="drop", command="c", action="a", extra=("x",))
    store.commit(
        [
            Kept(row(1), Respond(pack(order), b"\1\2", b"")),
            Kept(row(2, state="refused", reason="it is a gateway of this machine", target="=cmd|'x'!A1")),
            Kept(row(3, state="undone")),
            Kept(row(4, until_ms=5)),
        ]
    )
    return store


def test_what_is_in_force(run: Run, book: ResponseStore):
    assert [order["id"] for order in json.loads(run("list", "--json"))] == ["o1"]
    assert len(json.loads(run("list", "--all", "--json"))) == 4
    text = run("list", "--all")
    assert "done     firewall-drop 192.0.2.1  on web1 (001)  no end  drop, rule 5712" in text
    assert "    it is a gateway of this machine" in text


def test_spreadsheets_get_no_formulas(run: Run, book: ResponseStore):
    rows = list(csv.DictReader(io.StringIO(run("list", "--all", "--csv"))))
    assert [order["id"] for order in rows] == ["o4", "o3", "o2", "o1"]
    assert rows[2]["target"] == "'=cmd|'x'!A1"


def test_why(run: Run, book: ResponseStore):
    book.settle("o1", "failed", "nft is not\x1b[31m installed", NOW_MS + 9)
    (order,) = json.loads(run("why", "192.0.2.1", "--json"))
    assert [step["state"] for step in order["history"]] == ["done", "failed"]
    assert (order["signature"], order["extra"]) == ("0102", ["x"])
    text = run("why", "o1")
    assert "signature 0102" in text
    assert "\x1b" not in text
    assert "no response is known" in run("why", "198.51.100.1", status=1)


def test_nothing_yet(run: Run):
    assert run("list") == "nothing\n"


def test_commands(run: Run):
    answer = json.loads(run("commands", "--json"))
    by_name = {command["name"]: command for command in answer["commands"]}
    assert by_name["page"] | {"responses": 0} == {"name": "page", "action": "page.sh", "needs": [], "responses": 0}
    assert by_name["firewall-drop"]["responses"] == ["drop"]
    assert "response drop: firewall-drop at local for 600 s on level 5" in run("commands")


def test_simulate_says_what_would_be_done_and_what_is_refused(run: Run, make_alert: Any, tmp_path: Path):
    sources = ["192.0.2.7", "192.0.2.7", "127.0.0.1", "192.0.2.50", *(f"198.51.100.{n}" for n in range(10))]
    alerts = [
        make_alert(n, data={"srcip": source}, hids={"number": n, "at_ms": NOW_MS + n, "source": "agent/007"})
        for n, source in enumerate(sources, 1)
    ]
    path = tmp_path / "logs" / "alerts" / "alerts.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(alert) + "\n" for alert in alerts) + "no json\n")
    answer = json.loads(run("simulate", "--json"))
    assert (answer["alerts"], answer["ordered"], answer["targets"]) == (14, 3, 3)
    assert answer["by_response"] == {"drop": 3}
    assert answer["reasons"]["the budget of 3 new targets a minute is used up"] == 8
    assert "it is in the allowed range 192.0.2.50/32" in answer["reasons"]
    assert run("simulate", str(path)).startswith("14 alerts: 3 orders against 3 targets, 10 refused\n")
    assert len(run("simulate", "--csv").splitlines()) == 14
    assert "cannot be read" in run("simulate", str(tmp_path / "none"), status=1)


def test_an_ossec_conf_becomes_sections(run: Run, tmp_path: Path):
    path = tmp_path / "ossec.conf"
    path.write_text(
        "<ossec_config><command><name>drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect>"
        "<timeout_allowed>yes</timeout_allowed></command><active-response><command>drop</command>"
        "<location>local</location><level>7</level><timeout>900</timeout></active-response></ossec_config>"
    )
    tree = tomli.loads(run("import", str(path)))
    assert tree == {
        "command": [{"name": "drop", "executable": "firewall-drop"}],
        "response": [{"command": "drop", "name": "drop-1", "level": 7, "timeout_s": 900}],
    }
    assert tomli.loads(run("import", "--wazuh", str(path)))["response"][0]["match"] == "all"
    assert "cannot be read" in run("import", str(tmp_path / "none"), status=1)


def test_ar_conf_for_old_agents(run: Run):
    assert run("ar-conf").splitlines() == [
        "restart-ossec0 - restart-ossec.sh - 0",
        "restart-ossec0 - restart-ossec.cmd - 0",
        "firewall-drop600 - firewall-drop - 600",
        "firewall-drop600 - firewall-drop.sh - 600",
        "firewall-drop3600 - firewall-drop - 3600",
        "firewall-drop3600 - firewall-drop.sh - 3600",
    ]


def test_orders_need_a_manager_and_a_place(run: Run):
    assert "--agent NAME, or --all" in run("run", "firewall-drop", "192.0.2.7", status=2)
    run("run", "firewall-drop", "192.0.2.7", "--all", status=3)
    run("undo", "192.0.2.7", status=3)
    run("undo-all", status=3)
