"""A directory's listing, and its fingerprint."""

import os
from pathlib import Path

import pytest

from hids.agent import listing
from hids.agent.filecache import HIGHEST, LOWEST, name_hash
from hids.agent.listing import Survey, names_between, opened, status_at, survey


def read(folder: Path, stamp: bytes = b"stamp", away: tuple[str, ...] = ()) -> Survey:
    with opened(str(folder), pytest.fail) as descriptor:
        assert descriptor is not None
        return survey(descriptor, stamp, away)


def test_the_fingerprint_is_of_all_that_a_status_shows_and_of_the_stamp(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "below").mkdir()
    before = read(tmp_path)
    assert (before.entries, before.subdirectories) == (2, ["below"])
    assert read(tmp_path) == before
    assert read(tmp_path, b"another").fingerprint != before.fingerprint
    assert read(tmp_path, away=("below",)).entries == 1
    (tmp_path / "a").chmod(0o600)
    assert read(tmp_path).fingerprint != before.fingerprint


def test_a_long_listing_is_not_held_and_read_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "KEPT_INFOS", 3)
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert (read(tmp_path).entries, read(tmp_path).found) == (10, None)
    middle = sorted(name_hash(str(number)) for number in range(10))[5]
    with opened(str(tmp_path), pytest.fail) as descriptor:
        assert descriptor is not None
        low = [name for name, _ in names_between(descriptor, LOWEST, middle, ())]
        high = [name for name, _ in names_between(descriptor, middle, HIGHEST, ("3",))]
        assert len(low) == 5
        assert {*low, *high, "3"} == set(map(str, range(10)))
        assert status_at(descriptor, "7") is not None
        assert status_at(descriptor, "gone") is None


def test_what_is_no_directory_is_none_and_only_trouble_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    told: list[str] = []
    for name in ("file", "link", "missing"):
        with opened(str(tmp_path / name), told.append) as descriptor:
            assert descriptor is None
    assert told == []

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with opened(str(tmp_path), told.append) as descriptor:
        assert descriptor is None
    assert told == ["Permission denied"]
