"""Random changes, scans and looks: what was told adds up to what is there, and nothing is told twice."""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.copies import Copies
from hids.agent.filecache import FileCache, Positions
from hids.agent.folders import Folders
from hids.agent.mounts import Mounts
from hids.agent.observe import Observer
from hids.agent.paths import Excluded
from hids.agent.scan import Scanner
from hids.agent.sheet import Sheet
from hids.agent.spool import Spool
from hids.agent.spooler import RecallKeys, RecallLast, RecallRange
from hids.agent.watches import Watches
from hids.messages.syscheck import FileFact


class Host:
    """A folder with a scanner over a real spool, and what a manager would know of it."""

    def __init__(self, folder: Path, spool: Spool) -> None:
        self.watched = folder / "watched"
        self.watched.mkdir()
        self.known: dict[str, FileFact] = {}
        self.told: list[FileFact] = []
        self._spool = spool
        config = SyscheckConfig(directory=(DirectoryConfig(path=str(self.watched)),))
        self._folder = folder
        self._folders = Folders(config, Excluded(()))
        self.scanner = self.start()
        self._scans = 0

    def start(self) -> Scanner:
        """A new life, which knows what is stored."""
        return Scanner(
            self._folders,
            Observer(1 << 20),
            FileCache(self._ask),
            Sheet(self._put),
            Watches(None, print),
            Mounts(skip_network=True),
            Copies(self._folder / "copies", max_bytes=0, budget_bytes=0),
            max_files=1_000_000,
            tells_new=True,
            meanwhile=lambda: None,
            say=print,
        )

    def scan(self) -> None:
        news = self.scanner.begin()
        assert self.scanner.scan(str(self.watched), news, first_time=not self._scans)
        self.scanner.settle(news)
        self._scans += 1

    def there(self) -> set[str]:
        return {str(self.watched), *map(str, self.watched.rglob("*"))}

    def _ask(self, question: object) -> Any:
        match question:
            case RecallKeys(keys):
                return self._spool.positions_of(keys)
            case RecallRange(first, end, limit):
                return self._spool.positions_from(first, end, limit)
            case RecallLast(prefix, key):
                return self._spool.last_position(prefix, key)
            case _:
                raise TypeError(question)

    def _put(self, facts: list[FileFact], positions: Positions) -> None:
        self._spool.append((), positions)
        self.told += facts
        for fact in facts:
            if fact.moved_from:
                assert self.known.pop(fact.moved_from, None) is not None, f"{fact} from nowhere"
            if fact.gone:
                assert self.known.pop(fact.path, None) is not None, f"{fact} was not there"
            else:
                self.known[fact.path] = fact


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with closing(Spool.open(tmp_path / "spool.db", 0)) as spool:
        yield Host(tmp_path, spool)


def change(host: Host, chance: random.Random) -> list[Path]:  # noqa: PLR0911 - one for each thing to do
    """Do one thing somewhere; returns the paths that it touched."""
    folders = [host.watched, *(path for path in host.watched.rglob("*") if path.is_dir() and not path.is_symlink())]
    everything = list(host.watched.rglob("*"))
    folder = chance.choice(folders)
    fresh = folder / f"n{chance.randrange(10**6)}"
    what = chance.randrange(8)
    if what < 3 or not everything:
        fresh.write_text(str(chance.random()))
        return [fresh]
    path = chance.choice(everything)
    match what:
        case 3:
            fresh.mkdir()
        case 4 if fresh.is_relative_to(path):
            return []
        case 4:
            path.rename(fresh)
            return [path, fresh]
        case 5 if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            return [path]
        case 5:
            path.unlink()
            return [path]
        case 6 if path.is_file() and not path.is_symlink():
            path.write_text(str(chance.random()))
            return [path]
        case 6:
            fresh.symlink_to(f"target{chance.random()}")
        case _:
            if not path.is_symlink():
                path.chmod(chance.choice((0o700, 0o755, 0o744)))
            return [path]
    return [fresh]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small", [False, True])
def test_what_was_told_adds_up(host: Host, seed: int, small: bool, monkeypatch: pytest.MonkeyPatch):  # noqa: FBT001
    if small:  # everything that is bounded meets its bound
        for name, value in (("scan.SLICE_ENTRIES", 8), ("listing.KEPT_INFOS", 4), ("news.MAX_WAITING", 3)):
            monkeypatch.setattr(f"hids.agent.{name}", value)
        for name, value in (("PART_ENTRIES", 2), ("SPLIT_ABOVE", 4), ("PAGE_PARTS", 2)):
            monkeypatch.setattr(f"hids.agent.filecache.{name}", value)
        monkeypatch.setattr("hids.agent.scan.PART_ENTRIES", 2)
        monkeypatch.setattr("hids.agent.scan.SPLIT_ABOVE", 4)
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(40):
        change(host, chance)
    host.scan()
    assert set(host.known) == host.there()
    for round_ in range(25):
        touched = [path for _ in range(chance.randrange(8)) for path in change(host, chance)]
        if chance.random() < 0.5:
            entries = dict.fromkeys(os.path.split(path) for path in map(str, touched))
            host.scanner.look_at([entry for entry in entries if Path(entry[0]).is_dir()])
        if chance.random() < 0.3:
            host.scanner = host.start()
        host.scan()
        assert set(host.known) == host.there(), f"round {round_}"
        for path, fact in host.known.items():
            info = os.lstat(path)
            assert (fact.inode, fact.mode) == (info.st_ino, info.st_mode & 0o7777), f"round {round_}: {path}"
        told = len(host.told)
        host.scan()
        assert len(host.told) == told, f"round {round_}: told again: {host.told[told:]}"
