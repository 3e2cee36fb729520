import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from hids.adapters.paths import ManagerPaths
from hids.adapters.rulestats import read_stats, write_figures
from hids.core.rules.load import load
from hids.core.rules.profile import Figure, RulesetFigures
from hids.core.rules.rule import SourceFile
from hids.core.rules.table import rule_table
from hids.errors import StoreError

RULES = b'<group name="g"><rule id="200100" level="3"><match>x</match><description>d</description></rule></group>'


@pytest.fixture
def paths(tmp_path: Path) -> ManagerPaths:
    made = ManagerPaths.of(tmp_path)
    made.make()
    with closing(sqlite3.connect(made.ledger)) as db:
        db.execute("CREATE TABLE fired (rule TEXT PRIMARY KEY, count INTEGER)")
    return made


def test_workers_are_added_up(paths: ManagerPaths) -> None:
    for number in (0, 11):
        one = RulesetFigures("h", "n", 5, {200100: Figure(5, 2, 1000)}, {"d": Figure(4, 1, 700)}, {"rule 7": 1})
        write_figures(paths.stats, number, [one])
        write_figures(paths.stats, number, [one])  # the newest of a worker counts
    (stats,) = read_stats(paths)
    assert (stats.hash, stats.name, stats.sampled, stats.fired) == ("h", "n", 10, {})
    assert stats.rules == {200100: Figure(10, 4, 2000)}
    assert stats.decoders == {"d": Figure(8, 2, 1400)}
    assert stats.suspended == {"rule 7": 2}


def test_firings_come_from_the_ledger(paths: ManagerPaths) -> None:
    ruleset = load("own", "hids", [SourceFile("r.xml", RULES)])
    table = rule_table(ruleset)
    (paths.tables / f"{ruleset.hash}.msgpack").write_bytes(msgspec.msgpack.encode(table))
    with closing(sqlite3.connect(paths.ledger)) as db, db:
        db.execute("INSERT INTO fired VALUES (?, 7), ('another', 9)", (table.rules[0].identity,))
    write_figures(paths.stats, 0, [RulesetFigures(ruleset.hash, "own")])
    assert read_stats(paths)[0].fired == {200100: 7}


def test_nothing_where_no_manager_ran(tmp_path: Path) -> None:
    assert read_stats(ManagerPaths.of(tmp_path / "none")) == []


def test_what_is_no_file_of_figures_is_passed_over(paths: ManagerPaths) -> None:
    (paths.stats / "3").write_bytes(b"nonsense")
    (paths.stats / "4.new").write_bytes(b"torn")
    assert read_stats(paths) == []


def test_a_ledger_that_cannot_be_read(paths: ManagerPaths) -> None:
    write_figures(paths.stats, 0, [RulesetFigures("h", "n")])
    paths.ledger.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"ledger\.db: cannot be read"):
        read_stats(paths)


def test_a_folder_that_is_gone_costs_only_the_figures(tmp_path: Path) -> None:
    write_figures(tmp_path / "gone", 0, [RulesetFigures("h", "n")])
