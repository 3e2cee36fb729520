"""How a manager ended is told by its next life, unless it stopped in order."""

from pathlib import Path

import pytest

from hids.adapters.lastwords import LastWords


def test_what_the_next_life_says(tmp_path: Path):
    words = LastWords(tmp_path / "last_words")
    assert words.before() == ""
    words.running()
    assert words.before() == "manager ended: without a word, killed or crashed"
    words.failed("lane failed 11 times in 30 s")
    assert words.before() == "manager ended: it gave up: lane failed 11 times in 30 s"
    words.stopped()
    assert words.before() == ""


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = LastWords(tmp_path / "gone" / "last_words")
    words.running()
    assert "cannot be noted" in capsys.readouterr().out
    assert words.before() == ""
