"""`hidsctl report`, `archive` and `evidence` for people and scripts: what is wrong on the command line is named."""

import gzip
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hids.adapters.outbox import OutboxRow
from hids.adapters.search_index import SearchIndex
from hids.cli.hidsctl import app

Run = Callable[..., Result]
DAY = ("--since", "2026-11-24T00:00+00:00", "--until", "2026-11-25T00:00+00:00")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *argv, stdin=None: CliRunner().invoke(app, ["--state", str(tmp_path), *argv], input=stdin)


@pytest.fixture
def filled(tmp_path: Path, make_lines: Callable[..., bytes]) -> None:
    with closing(SearchIndex(tmp_path / "search.db", 100)) as index:
        index.add([OutboxRow(first=1, count=3, lines=make_lines(1, 3, data={"srcip": "192.0.2.7\x1b[31m"}))])


@pytest.mark.usefixtures("filled")
def test_a_report_for_people(run: Run):
    done = run("report", *DAY)
    assert done.exit_code == 0
    assert "->Processed alerts: 3\n" in done.stdout
    assert "192.0.2.7\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.usefixtures("filled")
def test_a_report_for_scripts_and_as_a_page(run: Run, tmp_path: Path):
    made = json.loads(
        run("--json", "report", *DAY, "--by", "rule", "--filter", "level=5", "--related", "user=srcip").stdout
    )
    assert (made["alerts"], [section["by"] for section in made["sections"]]) == (3, ["rule", "user"])
    page = tmp_path / "page.html"
    assert run("report", *DAY, "--format", "html", "-o", str(page), "--title", "<Day>").exit_code == 0
    assert "<h1>&lt;Day&gt;</h1>" in page.read_text()


def test_a_report_from_a_file_or_stdin(run: Run, tmp_path: Path, make_lines: Callable[..., bytes]):
    path = tmp_path / "ossec-alerts-24.json.gz"
    path.write_bytes(gzip.compress(make_lines(1, 4)))
    assert json.loads(run("report", *DAY, "--json", "--input", str(path)).stdout)["alerts"] == 4
    assert json.loads(run("report", *DAY, "--json", "--input", "-", stdin=make_lines(1, 2)).stdout)["alerts"] == 2
    assert run("report", "--input", str(tmp_path / "none")).exit_code == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("report", "--by", "colour"), "expected one of group, rule"),
        (("report", "--filter", "level"), "expected KEY=VALUE"),
        (("report", "--filter", "level=high"), "expected KEY=VALUE"),
        (("report", "--related", "user"), "expected one of group, rule"),
        (("report", "--format", "pdf"), "expected text, html or json"),
        (("report", "--daily", "--since", "2h"), "say the time already"),
        (("report", "--since", "1h", "--until", "2h"), "ends before it begins"),
        (("archive", "search", "--grep", "("), "not a regular expression"),
    ],
)
def test_wrong_usage_is_named(run: Run, argv: tuple[str, ...], words: str):
    done = run(*argv)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("report", "--daily"), 1, ""),
        (("report", "import", "/dev/null"), 1, "there are no <reports> in it"),
        (("report", "import", "/no/such"), 1, "cannot be read"),
        (("archive", "search"), 3, "there is no archive"),
        (("archive", "list"), 1, ""),
        (("evidence", "verify"), 3, "there is no key: no manager has run here yet"),
        (("evidence", "export"), 3, "there is no key"),
        (("evidence", "key"), 3, "there is no key"),
    ],
)
def test_nothing_there_has_its_status(run: Run, argv: tuple[str, ...], status: int, words: str):
    done = run(*argv)
    assert (done.exit_code, words in done.stderr) == (status, True)
