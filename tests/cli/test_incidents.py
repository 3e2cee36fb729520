"""`hidsctl incidents`: what goes on, for people and for scripts."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from hids.adapters.outbox import OutboxRow
from hids.adapters.search_index import SearchIndex
from hids.cli.incidents import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*argv: str, as_json: bool = False) -> Result:
        settings = SimpleNamespace(search_db=tmp_path / "search.db", json=as_json)
        return CliRunner().invoke(app, argv, obj=settings)

    return run


@pytest.fixture
def filled(tmp_path: Path, make_lines: Callable[..., bytes]) -> None:
    """Three alerts, two of one incident whose key holds what no terminal should get."""
    about = {"id": "007-1-1", "key": {"srcip": "192.0.2.7", "user": "\x1b[31mroot"}, "news": "first"}
    with closing(SearchIndex(tmp_path / "search.db", 100)) as index:
        for number, hids in ((1, {"incident": about}), (2, {}), (3, {"incident": about})):
            lines = make_lines(number, hids={"number": number} | hids)
            index.add([OutboxRow(first=number, count=1, lines=lines)])


@pytest.mark.usefixtures("filled")
def test_the_list_is_for_people(run: Run):
    result = run("list", "--since", "2026-11-01")
    assert result.exit_code == 0
    assert "007-1-1  level  5" in result.stdout
    assert "2 alerts  srcip=192.0.2.7 user=" in result.stdout
    assert "agents 007  rules 200110" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("before", [True, False])
def test_the_list_is_for_scripts(run: Run, *, before: bool):
    result = run("list", "--since", "2026-11-01", *(() if before else ("--json",)), as_json=before)
    (told,) = map(json.loads, result.stdout.splitlines())
    assert (told["id"], told["count"], told["agents"], told["rules"]) == ("007-1-1", 2, ["007"], [200110])


@pytest.mark.usefixtures("filled")
def test_nothing_found(run: Run):
    assert run("list", "--since", "2026-11-01", "--level", "12").exit_code == 1
    result = run("show", "no\x1bsuch")
    assert (result.exit_code, "\x1b" in result.stderr) == (1, False)
    assert "`hidsctl incidents list` names them" in result.stderr


@pytest.mark.usefixtures("filled")
def test_one_with_its_alerts(run: Run):
    human = run("show", "007-1-1").stdout
    assert human.count("rule 200110") == 2
    incident, *alerts = map(json.loads, run("show", "007-1-1", "--json").stdout.splitlines())
    assert (incident["id"], [alert["hids"]["number"] for alert in alerts]) == ("007-1-1", [1, 3])


def test_without_an_index(run: Run):
    assert run("list").exit_code == 3


@pytest.mark.usefixtures("filled")
def test_a_time_that_is_none(run: Run):
    result = run("list", "--since", "yesterday")
    assert (result.exit_code, "expected 10m, 2h or 3d" in result.stderr) == (2, True)
