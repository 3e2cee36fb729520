"""The unified log, with a small program in the place of macOS' `log`."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.agent.unifiedlog import UnifiedLogReader, to_line
from hids.core.collect.shape import Place
from hids.core.collect.source import SourceConfig

Scene = Callable[..., None]
PLACE = Place("macos", "mac1", "")
NOW_MS = 1_795_500_000_000
ENTRY = (
    b'{"timestamp":"2026-11-24 03:21:43.123456+0000","processImagePath":"/usr/bin/sudo","processID":42,'
    b'"subsystem":"com.apple.x","category":"auth","eventMessage":"joe : 3 incorrect\\npassword attempts"}'
)


def test_an_entry_is_a_syslog_line():
    line = to_line(ENTRY, PLACE, NOW_MS)
    assert line is not None
    assert line.text.endswith(b" mac1 sudo[42]: (com.apple.x:auth) joe : 3 incorrect password attempts")
    assert line.at_ms == 1_795_490_503_123


@given(st.binary(max_size=80) | st.just(b'{"eventMessage":[],"processID":{}}'))
def test_what_is_no_entry_is_left_out(entry: bytes):
    to_line(entry, PLACE, NOW_MS)
    assert to_line(b"Filtering the log data", PLACE, NOW_MS) is None
    assert to_line(b"[]", PLACE, NOW_MS) is None


def test_the_stream_is_followed(in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "log"
    program.write_text(
        f"#!{sys.executable} -S\nimport sys, threading\nprint('Filtering', sys.argv[1:])\n"
        f"print({ENTRY.decode()!r}, flush=True)\nthreading.Event().wait()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    config = SourceConfig(format="macos", query="process == 'sudo'", ignore=("nothing",))

    async def scene(yard: Any, until: Any) -> None:
        state = yard.start(UnifiedLogReader, config.name, config)
        await until(lambda: len(yard.lines) == 1 and state.idle)

    in_yard(scene)


def test_elsewhere_it_says_so(in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scene(yard: Any, until: Any) -> None:
        yard.start(UnifiedLogReader, "macos", SourceConfig(format="macos"))
        await until(lambda: yard.said)

    in_yard(scene)
