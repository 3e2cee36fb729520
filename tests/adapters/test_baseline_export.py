"""A signed baseline: sound, and altered in every place."""

from io import BytesIO
from pathlib import Path

import pytest

from hids.adapters.baseline_export import FORMAT, Header, verify, write
from hids.adapters.evidence.key import EvidenceKey
from hids.errors import StoreError
from hids.messages.baseline import Baseline
from hids.messages.syscheck import FileFact

HEADER = Header(FORMAT, "007", "web1", "boss", 5)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    file = BytesIO()
    entries = [Baseline(FileFact(path=f"/etc/{name}", seen="scan", sha256="ab")) for name in "abc"]
    assert write(file, HEADER, entries, EvidenceKey.open_or_create(tmp_path / "key")) == 3
    path = tmp_path / "export"
    path.write_bytes(file.getvalue())
    return path


def test_a_sound_one(export: Path, tmp_path: Path):
    sound = verify(export)
    assert (sound.header, sound.entries) == (HEADER, 3)
    assert sound.key == EvidenceKey.open_or_create(tmp_path / "key").public


def test_any_byte_that_is_altered_shows(export: Path):
    data = export.read_bytes()
    for place in range(0, len(data), 7):
        export.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(StoreError):
            verify(export)


@pytest.mark.parametrize(
    "alter",
    [
        lambda lines: lines[:-1],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [*lines, lines[1]],
        lambda lines: lines[1:],
        lambda lines: [],
        lambda lines: [b"\xff\n"],
        lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")],
        lambda lines: [lines[0], b"x" * 300_000 + b"\n"],
    ],
)
def test_lines_that_are_missing_or_too_many_show(export: Path, alter):
    export.write_bytes(b"".join(alter(export.read_bytes().splitlines(keepends=True))))
    with pytest.raises(StoreError):
        verify(export)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be read"):
        verify(tmp_path / "no")
