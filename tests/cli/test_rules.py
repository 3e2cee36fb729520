"""`hidsctl rules` on folders: what people see, what scripts read, and the exit status."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hids.adapters.paths import ManagerPaths
from hids.adapters.rulestats import write_figures
from hids.cli.hidsctl import app
from hids.core.rules.profile import Figure, RulesetFigures

RULES = """
<decoder name="app"><program_name>^app$</program_name></decoder>
<group name="app">
  <rule id="200100" level="0"><decoded_as>app</decoded_as><description>app</description></rule>
  <rule id="200101" level="5"><if_sid>200100</if_sid><match>failed</match><description>failed</description></rule>
</group>
"""
HEAD = "Nov 24 03:21:42 web1 app[1]: "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "rules"
    made.mkdir()
    (made / "app.xml").write_text(RULES)
    return made


def hidsctl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


def test_check_of_rules_that_can_be_used(folder: Path) -> None:
    result = hidsctl("rules", "check", folder)
    assert (result.exit_code, result.stdout) == (0, "rules: 1 decoders, 2 rules: can be used\n")


def test_check_tells_all_problems_with_their_places(folder: Path) -> None:
    (folder / "b.xml").write_text(
        '<group name="b"><rule id="1" level="x"/>\n<rule id="200150" level="3" no="1"/></group>'
    )
    result = hidsctl("rules", "check", folder)
    assert result.exit_code == 1
    for place in ("b.xml:1: ", "b.xml:2: unknown attribute no of <rule>"):
        assert place in result.stderr
    told = answer(hidsctl("rules", "check", folder, "--json"))[0]
    assert len(told["problems"]) == len(result.stderr.splitlines())


def test_check_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = hidsctl("rules", "check", tmp_path / "gone")
    assert (result.exit_code, "expected a folder with rule files" in result.stderr) == (1, True)


def test_check_of_a_dialect_that_does_not_exist(folder: Path) -> None:
    result = hidsctl("rules", "check", folder, "--dialect", "suricata")
    assert (result.exit_code, "dialect must be one of" in result.stderr) == (2, True)


def test_certificate(folder: Path) -> None:
    result = hidsctl("rules", "certificate", folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "rules: 3 exact, 0 equivalent, 0 refused")
    everything = hidsctl("rules", "certificate", folder, "--all")
    assert "  rule    200101" in everything.stdout
    told = answer(hidsctl("rules", "certificate", folder, "--json"))[0]
    assert told["counts"] == {"exact": 3, "equivalent": 0, "refused": 0}
    assert [entry["id"] for entry in told["entries"]] == ["app", "200100", "200101"]


def test_lint(folder: Path) -> None:
    clean = hidsctl("rules", "lint", folder)
    assert (clean.exit_code, clean.stdout) == (0, "rules: nothing odd\n")
    twin = '<rule id="200102" level="5"><if_sid>200100</if_sid><match>failed</match><description>d</description></rule>'
    (folder / "b.xml").write_text(f'<group name="app">{twin}</group>')
    result = hidsctl("rules", "lint", folder)
    assert result.exit_code == 1
    assert "rule 200102: duplicate: asks the same as rule 200101" in result.stdout
    assert [finding["kind"] for finding in answer(hidsctl("--json", "rules", "lint", folder))] == ["duplicate"]


def test_regex_explains_and_tries() -> None:
    result = hidsctl("rules", "regex", "--dialect", "ossec", r"^a (\S+)", "A joe!", "b")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:3] == [r"os_regex  ^a (\S+)", "rewritten  ^a ([^ ]+)", "run by     re"]
    assert "match     A joe!\n  1: joe!\n  goes on at 6\nno match  b\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        (("--dialect", "hids", "(a)\\d+"), "re"),
        (("--dialect", "ossec", "--kind", "match", "a|b"), "re"),
        (("--dialect", "ossec", "--kind", "pcre2", "(a+)+b"), "pcre2"),
        (("--dialect", "wazuh", "--kind", "match", "!a"), "text"),
        (("--dialect", "wazuh", "(\\d+)(\\w+)"), "machine"),
    ],
)
def test_regex_names_who_runs_it(arguments: tuple[str, ...], engine: str) -> None:
    assert answer(hidsctl("rules", "regex", "--json", *arguments))["engine"] == engine


@pytest.mark.parametrize(
    "arguments",
    [("--dialect", "ossec", "\\q"), ("--dialect", "hids", "--kind", "match", "x"), ("--kind", "nonsense", "x"), ("(",)],
)
def test_a_pattern_that_cannot_be_used(arguments: tuple[str, ...]) -> None:
    result = hidsctl("rules", "regex", *arguments)
    assert (result.exit_code, result.stderr.startswith("hidsctl: ")) == (2, True)


def test_tests_and_their_coverage(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    case = f'[[case]]\nname = "f"\nline = "{HEAD}failed"\nrule = 200101\n'
    path.write_text(case)
    result = hidsctl("rules", "test", path, "--ruleset", folder, "--coverage")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "not reached: 200100 app",
        "1 of 2 rules are reached",
        "1 of 1 tests go as written",
    ]
    path.write_text(case.replace("200101", "200100"))
    result = hidsctl("rules", "test", path, "--ruleset", folder)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{path}: f: expected rule 200100, got 200101",
        "0 of 1 tests go as written",
    ]
    told = answer(hidsctl("rules", "test", path, "--ruleset", folder, "--json"))
    assert told == {
        "tests": 1,
        "failures": [{"file": str(path), "name": "f", "text": "expected rule 200100, got 200101"}],
        "coverage": None,
    }


@pytest.mark.parametrize(("name", "text"), [("t.toml", ""), ("t.ini", ""), ("t.ini", "[a]\nrule = 1\n")])
def test_files_without_a_test_do_not_pass(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    result = hidsctl("rules", "test", tmp_path / name, "--ruleset", folder)
    assert (result.exit_code, "there is no test" in result.stderr) == (2, True)


def test_a_test_file_that_is_none(folder: Path, tmp_path: Path) -> None:
    result = hidsctl("rules", "test", tmp_path / "x.ini", "--ruleset", folder)
    assert (result.exit_code, "x.ini: cannot be read" in result.stderr) == (2, True)


def test_stats(tmp_path: Path) -> None:
    paths = ManagerPaths.of(tmp_path)
    empty = hidsctl("--state", tmp_path, "rules", "stats")
    assert (empty.exit_code, empty.stdout[:10]) == (0, "no figures")
    paths.make()
    with closing(sqlite3.connect(paths.ledger)) as db:
        db.execute("CREATE TABLE fired (rule TEXT PRIMARY KEY, count INTEGER)")
    figures = RulesetFigures(
        "h", 'my "own"', 4, {200100: Figure(4, 1, 8000)}, {"app": Figure(3, 3, 3000)}, {"rule 7: pattern (a+)+": 2}
    )
    write_figures(paths.stats, 0, [figures])
    shown = hidsctl("--state", tmp_path, "rules", "stats").stdout.splitlines()
    assert shown[0] == 'ruleset my "own" (h): 4 lines sampled, one in 256'
    assert shown[2].split() == ["rule", "200100", "4", "1", "0", "2.00", "2.000"]
    assert shown[3].split() == ["decoder", "app", "3", "3", "1.00", "0.750"]
    assert shown[4:] == ["suspended, 2 times: rule 7: pattern (a+)+"]
    assert len(hidsctl("--state", tmp_path, "rules", "stats", "--top", "1").stdout.splitlines()) == 4
    told = answer(hidsctl("--state", tmp_path, "rules", "stats", "--json"))
    assert told[0]["rules"] == {"200100": {"evaluated": 4, "matched": 1, "ns": 8000}}
    text = hidsctl("--state", tmp_path, "rules", "stats", "--prometheus").stdout.splitlines()
    assert 'hids_rule_sampled_matched_total{ruleset="my \\"own\\"",rule="200100"} 1' in text
    assert 'hids_decoder_sampled_seconds_total{ruleset="my \\"own\\"",decoder="app"} 0.000003000' in text
    assert 'hids_pattern_suspensions_total{ruleset="my \\"own\\"",pattern="rule 7: pattern (a+)+"} 2' in text
    assert 'hids_rules_sampled_lines_total{ruleset="my \\"own\\""} 4' in text
