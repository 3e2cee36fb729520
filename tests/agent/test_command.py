"""Running programs: their output, their times, and those that fail, hang or flood."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from hids.agent.command import MAX_OUTPUT, CommandRunner
from hids.core.collect.source import SourceConfig

Scene = Callable[..., None]


def start(yard: Any, command: str, **keys: Any) -> Any:
    config = SourceConfig(**{"format": "command", "command": command, "alias": "it", **keys})
    return yard.start(CommandRunner, config.name, config)


def test_each_line_is_an_event(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, "printf 'a b\\n\\nc\\r\\n'", ignore=("c$",))
        await until(lambda: yard.texts == [b"ossec: output: 'it': a b"])
        assert {line.location for line in yard.lines} == {"it"}

    in_yard(scene)


def test_lines_as_they_are_printed(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, "printf 'a b\\n\\nc\\n'", out_format="$(printed)")
        await until(lambda: yard.texts == [b"a b", b"c"])

    in_yard(scene)


def test_the_whole_output_is_one_event_and_a_shell_runs_when_it_is_named(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, "/bin/sh -c 'echo b; echo a >&2; exit 3'", format="full_command", alias="")
        await until(lambda: yard.texts)
        assert yard.texts == [b"ossec: output: '/bin/sh -c 'echo b; echo a >&2; exit 3'':\nb\na"]

    in_yard(scene)


def test_it_runs_again_but_not_for_a_restart(in_yard: Scene, tmp_path: Path):
    tally = tmp_path / "tally"

    async def again(yard: Any, until: Any) -> None:
        start(yard, f"/bin/sh -c 'echo x >> {tally}; cat {tally}'", frequency_s=1)
        await until(lambda: tally.exists() and tally.read_text().count("x") == 2)

    async def restarted(yard: Any, until: Any) -> None:
        state = start(yard, f"/bin/sh -c 'echo x >> {tally}'", frequency_s=3600)
        await until(lambda: state.idle)
        await asyncio.sleep(0)
        assert tally.read_text().count("x") == 2

    in_yard(again)
    in_yard(restarted)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/program", "cannot be run: No such file or directory"),
        ("/etc/passwd", "cannot be run: Permission denied"),
        ("/bin/sh -c 'kill -9 $$'", "was ended by SIGKILL"),
    ],
)
def test_what_fails_is_said_once(in_yard: Scene, command: str, said: str):
    async def scene(yard: Any, until: Any) -> None:
        state = start(yard, command, frequency_s=1)
        await until(lambda: yard.said)
        await until(lambda: state.idle)
        assert yard.said == [f"source unreadable: it: {said}"]

    in_yard(scene)


def test_what_hangs_is_ended_with_all_that_it_started(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, "/bin/sh -c 'echo $$; sleep 98765 & wait'", timeout_s=1)
        await until(lambda: yard.texts)
        pid = int(yard.texts[0].rpartition(b" ")[2])
        assert not psutil.pid_exists(pid)
        assert "was ended after 1 s" in yard.said[0]
        assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "98765"]]

    in_yard(scene)


def test_what_floods_is_cut(in_yard: Scene):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, f"{sys.executable} -c 'while True: print(\"x\" * 1000)'")
        await until(lambda: yard.said)
        assert "printed more than" in yard.said[0]
        await until(lambda: sum(map(len, yard.texts)) > MAX_OUTPUT)
        assert sum(map(len, yard.texts)) < 2 * MAX_OUTPUT

    in_yard(scene)
