import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
import typer
from typer.testing import CliRunner, Result

from hids.adapters.outbox import OutboxRow
from hids.adapters.search_index import SearchIndex
from hids.cli.alerts import alerts

ALL = 100_000
DEADLINE_S = 20.0


@pytest.fixture
def search_db(tmp_path: Path):
    return tmp_path / "search.db"


@pytest.fixture
def add(search_db: Path, make_lines: Callable[..., bytes]):
    """Adds one alert to the index."""

    def add(number: int, **members: object) -> None:
        with closing(SearchIndex(search_db, ALL)) as index:
            index.add([OutboxRow(first=number, count=1, lines=make_lines(number, **members))])

    return add


@pytest.fixture
def run(search_db: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    app = typer.Typer()
    app.command()(alerts)

    def run(*argv: str, as_json: bool = False) -> Result:
        return CliRunner().invoke(app, argv, obj=SimpleNamespace(search_db=search_db, json=as_json))

    yield run
    monkeypatch.undo()
    time.tzset()


def ago(**members: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(time.time_ns() // 10**9 - members["s"]))


def numbers(result: Result) -> list[int]:
    return [json.loads(line)["hids"]["number"] for line in result.stdout.splitlines()]


def test_block_for_people(run: Callable[..., Result], add: Callable[..., None]):
    add(1, previous_output="an earlier line\nthe first line")
    result = run()
    assert result.exit_code == 0
    assert result.stdout == (
        "2026-11-24 03:21:43 level  5 rule 200110  web1 (007)  /var/log/auth.log\n"
        "    sshd: authentication failed\n"
        "    srcip=192.0.2.7  dstuser=joe\n"
        "    Nov 24 03:21:42 web1 sshd[1]: Failed password for joe from 192.0.2.7\n"
        "    an earlier line\n"
        "    the first line\n"
    )


@pytest.mark.parametrize("global_json", [True, False])
def test_json_is_the_alert_line_as_it_is(
    *,
    run: Callable[..., Result],
    add: Callable[..., None],
    make_lines: Callable[..., bytes],
    global_json: bool,
):
    add(1)
    result = run(*([] if global_json else ["--json"]), as_json=global_json)
    assert result.stdout_bytes == make_lines(1)


def test_newest_at_the_bottom_within_the_limit(run: Callable[..., Result], add: Callable[..., None]):
    for number in (1, 2, 3):
        add(number)
    assert numbers(run("--json", "--limit", "2")) == [2, 3]


def test_filters(run: Callable[..., Result], add: Callable[..., None]):
    add(1, timestamp=ago(s=3 * 3600))
    add(2, timestamp=ago(s=60), agent={"id": "001", "name": "db"})
    add(3, timestamp=ago(s=5), rule={"level": 12, "description": "kernel", "id": "200300", "groups": ["boot"]})
    for argv, found in (
        (["--since", "1h"], [2, 3]),
        (["--since", "4h", "--until", "30s"], [1, 2]),
        (["--since", "1970-01-01"], [1, 2, 3]),
        (["--until", "2020-01-01T00:00:00+02:00"], []),
        (["--level", "6"], [3]),
        (["--agent", "db"], [2]),
        (["--agent", "001"], [2]),
        (["--rule", "200300"], [3]),
        (["--group", "boot"], [3]),
        (["--text", "kernel"], [3]),
        (["--text", 'Failed "password for"', "--agent", "web1"], [1, 3]),
    ):
        result = run("--json", *argv)
        assert numbers(result) == found, argv
        assert result.exit_code == (0 if found else 1), argv


@pytest.mark.parametrize(
    "argv",
    [
        ["--since", "yesterday"],
        ["--until", "5x"],
        ["--since", "-5m"],
        ["--since", "0001-01-01"],
        ["--level", "17"],
        ["--limit", "0"],
        ["--rule", "x"],
        ["--rule", "99999999999999999999"],
        ["--nonsense"],
    ],
)
def test_wrong_usage(run: Callable[..., Result], add: Callable[..., None], argv: list[str]):
    add(1)
    result = run(*argv)
    assert result.exit_code == 2, result.output
    assert not result.stdout


def test_times_are_explained(run: Callable[..., Result]):
    assert "expected 10m, 2h or 3d" in " ".join(run("--since", "a\x1b[2J").stderr.replace("│", " ").split())
    assert "\x1b[2J" not in run("--since", "a\x1b[2J").stderr


def test_no_index_yet(run: Callable[..., Result], search_db: Path):
    result = run()
    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr == f"hidsctl: {search_db}: there is no search index yet; it is made when the manager first runs\n"
    )


def test_damaged_index(run: Callable[..., Result], search_db: Path):
    search_db.write_bytes(b"nonsense" * 1000)
    result = run()
    assert result.exit_code == 3
    assert "cannot be read" in result.stderr


def test_what_an_attacker_wrote_is_escaped(run: Callable[..., Result], add: Callable[..., None]):
    evil = "x\x1b]0;owned\x07\r\u202e[red]b[/red] :boom:"
    add(
        1,
        full_log=evil,
        previous_output=evil,
        location=evil,
        rule={"level": 5, "description": evil, "id": "1", "groups": []},
        agent={"id": "001", "name": evil},
        data={evil: evil},
    )
    shown = run().stdout
    assert shown.count("x\\x1b]0;owned\\x07\\x0d\\u202e[red]b[/red] :boom:") == 7
    assert not set(shown) & set("\x1b\x07\r\u202e")


def test_help_has_examples_line_by_line(run: Callable[..., Result]):
    result = run("--help")
    assert result.exit_code == 0
    assert any(line.strip("│ ") == "hidsctl alerts -f --level 10" for line in result.stdout.splitlines())


# -- as a process: colours, following, the end of a pipe -----------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace
import typer
from hids.cli.alerts import alerts
app = typer.Typer()
app.command()(alerts)
app(obj=SimpleNamespace(search_db=Path(sys.argv.pop(1)), json=False))
"""


def on_a_terminal(search_db: Path, **environment: str) -> bytes:
    """What it prints when standard output is a terminal."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(search_db)], stdout=theirs, env=env | environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += (part := os.read(ours, 65536))
            except OSError:  # how Linux says that the other end of a terminal is closed
                break
            if not part:
                break
        assert process.wait(DEADLINE_S) == 0
    os.close(ours)
    return shown


@pytest.mark.slow
def test_colour_on_a_terminal_only_and_not_against_ones_will(
    add: Callable[..., None], search_db: Path, run: Callable[..., Result]
):
    add(1)
    assert b"\x1b[33" not in run().stdout_bytes
    add(2, rule={"level": 12, "description": "d", "id": "1", "groups": []})
    assert b"\x1b[1;31mlevel 12 \x1b[0m" in on_a_terminal(search_db)
    assert b"\x1b[3" not in on_a_terminal(search_db, NO_COLOR="1")


class Follower:
    """A `hidsctl alerts -f --json` whose lines are waited for."""

    def __init__(self, search_db: Path, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(search_db), "-f", "--json", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # so that `select` sees all that is unread
        )

    def next_number(self) -> int:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        assert ready, "no alert in time"
        line = self.process.stdout.readline()
        assert line, f"it ended: {self.process.communicate()[1]!r}"
        return json.loads(line)["hids"]["number"]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        assert (out, err) == (b"", b"")
        return self.process.returncode


@pytest.fixture
def follow(search_db: Path):
    followers: list[Follower] = []

    def follow(*argv: str) -> Follower:
        followers.append(Follower(search_db, *argv))
        return followers[-1]

    yield follow
    for follower in followers:
        with follower.process:
            follower.process.kill()


@pytest.mark.slow
def test_follow_shows_what_there_is_and_what_comes(add: Callable[..., None], follow: Callable[..., Follower]):
    add(1)
    add(2)
    follower = follow()
    assert [follower.next_number(), follower.next_number()] == [1, 2]
    add(3)
    assert follower.next_number() == 3
    add(4)
    assert follower.next_number() == 4
    assert follower.stop() == 0


@pytest.mark.slow
def test_follow_filters(add: Callable[..., None], follow: Callable[..., Follower]):
    severe = {"level": 12, "description": "d", "id": "1", "groups": []}
    add(1, rule=severe)
    follower = follow("--level", "12")
    assert follower.next_number() == 1
    add(2)
    add(3, rule=severe)
    assert follower.next_number() == 3
    assert follower.stop() == 0


@pytest.mark.slow
def test_follow_an_index_that_is_replaced(add: Callable[..., None], follow: Callable[..., Follower], search_db: Path):
    add(1)
    follower = follow()
    assert follower.next_number() == 1
    with structlog.testing.capture_logs():
        SearchIndex(search_db, newest=0).close()  # puts the file aside, for another ledger
    for number in (1, 2):
        add(number)
    assert follower.next_number() == 2
    assert follower.stop() == 0


@pytest.mark.slow
def test_reader_that_goes_away(add: Callable[..., None], follow: Callable[..., Follower]):
    add(1)
    follower = follow()
    assert follower.next_number() == 1
    follower.process.stdout.close()
    add(2)
    assert follower.process.wait(DEADLINE_S) != 0
    assert b"Traceback" not in follower.process.stderr.read()
