"""Looking at single files."""

import hashlib
import os
from pathlib import Path

from hids.agent.observe import Change, Known, Observer, is_directory, subdirectories
from hids.agent.paths import Excluded


def look(folder: Path, known: dict[str, Known] | None = None, ignore: tuple[str, ...] = ()) -> dict[str, Change]:
    observer = Observer(ignore, Excluded([]), max_file_bytes=10_000_000)
    return {change.name: change for change in observer.changes(str(folder), known or {}, None, "scan")}


def known_of(changes: dict[str, Change]) -> dict[str, Known]:
    return {name: change.known for name, change in changes.items() if change.known is not None}


def test_nothing_changed_is_nothing_said(tmp_path: Path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "d").mkdir()
    known = known_of(look(tmp_path))
    assert set(known) == {"a", "d"}
    assert look(tmp_path, known) == {}
    (tmp_path / "d" / "x").write_text("x")  # a directory's own time moves with its entries
    assert all(change.fact is None for change in look(tmp_path, known).values())


def test_a_mode_that_went_and_came_back_is_remembered_but_is_no_news(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    known = known_of(look(tmp_path))
    mode = path.stat().st_mode
    path.chmod(0o777)
    path.chmod(mode)
    changes = look(tmp_path, known)
    assert changes["a"].fact is None
    assert look(tmp_path, known | known_of(changes)) == {}


def test_a_file_that_became_a_link_to_a_secret_is_not_followed(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("a")
    known = known_of(look(folder))
    (folder / "a").unlink()
    (folder / "a").symlink_to(secret)
    fact = look(folder, known)["a"].fact
    assert fact is not None
    assert (fact.kind, fact.target, fact.sha256) == ("link", str(secret), "")


def test_a_sparse_giant_is_not_hashed_and_special_files_are_not_opened(tmp_path: Path):
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    changes = look(tmp_path)
    facts = {name: change.fact for name, change in changes.items()}
    assert facts["giant"] is not None
    assert facts["pipe"] is not None
    assert (facts["giant"].size, facts["giant"].sha256) == (1 << 40, "")
    assert facts["pipe"].kind == "other"


def test_a_large_file_is_hashed_whole(tmp_path: Path):
    content = os.urandom(1_000_001)
    (tmp_path / "a").write_bytes(content)
    fact = look(tmp_path)["a"].fact
    assert fact is not None
    assert fact.sha256 == hashlib.sha256(content).hexdigest()


def test_directories(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("")
    (tmp_path / "l").symlink_to("d")
    assert subdirectories(str(tmp_path)) == [str(tmp_path / "d")]
    assert [is_directory(str(tmp_path / name)) for name in ("d", "f", "l", "none")] == [True, False, False, False]
    assert subdirectories(str(tmp_path / "none")) == []
    assert look(tmp_path / "none") == {}


def test_ignored_names(tmp_path: Path):
    (tmp_path / "a.swp").write_text("")
    (tmp_path / "a").write_text("")
    assert set(look(tmp_path, ignore=("*.swp",))) == {"a"}
