"""Real .evtx files: every event once, in order, over restarts, copies and damage."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hids.agent import evtx as evtx_module
from hids.agent.evtx import EvtxFile, EvtxReader
from hids.core.collect.source import SourceConfig
from hids.core.decode.fields import Fields
from hids.core.decode.windows_event import take_event

Scene = Callable[..., None]


@pytest.fixture
def samples() -> Path:
    folder = os.environ.get("HIDS_SAMPLES")
    if not folder:
        pytest.skip("HIDS_SAMPLES is not set to the folder that holds evtx/")
    return Path(folder) / "evtx"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evtx_module, "CALM_S", 0.01)


def start(yard: Any, pattern: object, from_: str = "start", **keys: Any) -> Any:
    config = SourceConfig(path=str(pattern), format="evtx", from_=from_, **keys)  # type: ignore[arg-type]
    return yard.start(EvtxReader, config.name, config)


def test_every_event_comes_once_with_its_fields(in_yard: Scene, samples: Path, tmp_path: Path):
    shutil.copy(samples / "new-user-security.evtx", tmp_path / "a.evtx")

    async def scene(yard: Any, until: Any) -> None:
        state = start(yard, tmp_path / "*.evtx")
        await until(lambda: len(yard.lines) == 4 and state.idle)
        line = yard.lines[0]
        assert (line.location, line.kind) == ("EventChannel", "eventchannel")
        assert line.at_ms == 1_382_545_359_973
        fields = Fields()
        take_event(line.text, fields)
        assert fields.dynamic["win.system.eventID"] == b"4728"
        assert fields.dynamic["win.system.channel"] == b"Security"
        shutil.copy(samples / "system.evtx", tmp_path / "b.evtx")
        await until(lambda: len(yard.lines) == 4 + 1881)

    async def restarted(yard: Any, until: Any) -> None:
        shutil.copy(samples / "new-user-security.evtx", tmp_path / "a.new")
        (tmp_path / "a.new").rename(tmp_path / "a.evtx")  # the same log, copied anew
        state = start(yard, tmp_path / "*.evtx")
        await until(lambda: state.idle)
        assert len(yard.lines) == 4 + 1881

    in_yard(scene)
    in_yard(restarted)


def test_another_log_of_the_same_name_is_read_from_its_start(in_yard: Scene, samples: Path, tmp_path: Path):
    path = tmp_path / "a.evtx"
    shutil.copy(samples / "system.evtx", path)

    async def scene(yard: Any, until: Any) -> None:
        state = start(yard, path, "end")
        await until(lambda: state.idle)
        assert yard.lines == []
        shutil.copy(samples / "new-user-security.evtx", tmp_path / "new")
        (tmp_path / "new").rename(path)
        await until(lambda: len(yard.lines) == 4)

    in_yard(scene)


def test_damaged_parts_are_passed_over(samples: Path):
    records = EvtxFile(str(samples / "sample_with_a_bad_chunk_magic.evtx")).read(b"")
    assert len(records) == 270
    numbers = [msgspec.msgpack.decode(record.bookmark)[0] for record in records]
    assert numbers == sorted(numbers)


def test_what_is_no_such_file_is_said_once(in_yard: Scene, tmp_path: Path):
    (tmp_path / "a.evtx").write_bytes(b"ElfFile\0" + b"\xff" * 5000)

    async def scene(yard: Any, until: Any) -> None:
        state = start(yard, tmp_path / "*.evtx")
        await until(lambda: state.idle)
        (tmp_path / "a.evtx").write_bytes(b"x" * 5000)
        await until(lambda: state.idle)
        assert len(yard.said) == 1
        assert yard.said[0].startswith(f"source unreadable: {tmp_path}/a.evtx: ")

    in_yard(scene)
