"""Kill -9 at every transaction of a scan, of each kind: the next scan tells the rest, and nothing twice."""

import json
import lzma
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from crash import Forks, Order

from hids.core.rootcheck.report import STARTING
from hids.core.wire.facts import unpack as unpack_facts
from hids.core.wire.lines import unpack
from hids.messages.lines import LogLine

SAMPLES = os.environ.get("HIDS_SAMPLES")
pytestmark = [pytest.mark.slow, pytest.mark.fault]


class Host(Protocol):
    """What is scanned."""

    config: str

    def __init__(self, folder: Path) -> None:
        """Make it."""
        ...

    def change(self) -> None:
        """Change it between two scans."""
        ...

    @staticmethod
    def told(lines: list[LogLine]) -> Counter[tuple[str, ...]]:
        """What was told, without what a scan says of itself."""
        ...


class Watched:
    """Folders for syscheck."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(4):
            (folder / f"d{number}").mkdir(parents=True)
            for name in ("changes", "goes", "stays"):
                (folder / f"d{number}" / name).write_text(name)
        self.config = f'[syscheck]\ndirectories = ["{folder}"]\nrealtime = false\npackages = false\n'

    def change(self) -> None:
        for number in range(4):
            (self.folder / f"d{number}" / "changes").write_text(f"changed {number}")
            (self.folder / f"d{number}" / "goes").unlink()
            (self.folder / f"d{number}" / "comes").write_text(f"new {number}")
        (self.folder / "d1" / "stays").rename(self.folder / "moved")

    @staticmethod
    def told(lines: list[LogLine]) -> Counter[tuple[str, ...]]:
        facts = (fact for line in lines for fact in unpack_facts(line.text))
        return Counter((fact.path, fact.seen, str(fact.gone), fact.sha256) for fact in facts if fact.kind != "dir")


class Rooted:
    """A system with what rootcheck looks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("etc", "tmp", "dev"):
            (folder / name).mkdir(parents=True)
        (folder / "etc/sshd_config").write_text("PermitRootLogin yes\n")
        (folder / "audit.txt").write_text(
            "[Root may log in] [any] [x]\nf:/etc/sshd_config -> r:^PermitRootLogin yes;\n"
        )
        (folder / "tmp/kinsing").touch()
        (folder / "dev/hidden").touch()
        off = "".join(
            f"check_{name} = false\n" for name in ("pids", "ports", "if", "deleted", "modules", "sys", "preload")
        )
        self.config = (
            f"[rootcheck]\ndisabled = false\nmax_rest_s = 0\nbase_directory = '{folder}'\n"
            f"system_audit = ['{folder}/audit.txt']\nignore = ['/proc/*']\n{off}"
        )

    def change(self) -> None:
        (self.folder / "tmp/kinsing").unlink()
        (self.folder / "dev/other").touch()
        (self.folder / "etc/program").write_text("x")
        (self.folder / "etc/program").chmod(0o4755)

    @staticmethod
    def told(lines: list[LogLine]) -> Counter[tuple[str, ...]]:
        texts = (line.text for line in lines if line.text != STARTING and not line.text.startswith((b"Ending", b"{")))
        return Counter((text.decode().partition(" MD5=")[0],) for text in texts)


class Policed:
    """Files that a policy asks about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        names = [f"f{number}" for number in range(3)]
        for name in names:
            (folder / name).write_text("good\n")
        checks = "".join(
            f"  - {{id: {number}, title: t, condition: all, rules: ['f:{folder}/{name} -> r:good']}}\n"
            for number, name in enumerate(names)
        )
        policy = folder / "p.yml"
        policy.write_text(f"policy: {{id: p, file: p.yml, name: P, description: d}}\nchecks:\n{checks}")
        policy.chmod(0o644)
        self.config = f'[policy]\nfiles = ["{policy}"]\n'

    def change(self) -> None:
        (self.folder / "f0").write_text("bad\n")
        (self.folder / "f2").unlink()

    @staticmethod
    def told(lines: list[LogLine]) -> Counter[tuple[str, ...]]:
        said = [json.loads(line.text) for line in lines]
        assert said[-1]["type"] in ("summary", "scanned")
        return Counter(
            (str(each["check"]["id"]), each["check"].get("result", ""), each.get("previous_result", ""))
            for each in said
            if each["type"] == "check"
        ) + Counter(("summary", str(each["passed"]), str(each["failed"])) for each in said if each["type"] == "summary")


class Registered:
    """A hive of a Windows, before and after real changes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.hive = folder / "NTUSER.DAT"
        self._write("NTUSER.DAT")
        keys = [
            r"Software\WinRAR",
            r"Software\Microsoft\Windows\CurrentVersion\Run",
            r"Software\Microsoft\legitimate_subkey",
        ]
        self.config = f"[[registry]]\npath = 'HKEY_USERS\\x'\nhive = '{self.hive}'\nkeys = {keys}\n"

    def _write(self, name: str) -> None:
        self.hive.write_bytes(lzma.decompress((Path(SAMPLES or "") / "registry" / f"{name}.xz").read_bytes()))

    def change(self) -> None:
        self._write("NTUSER_modified.DAT")

    @staticmethod
    def told(lines: list[LogLine]) -> Counter[tuple[str, ...]]:
        facts = (fact for line in lines for fact in unpack_facts(line.text))
        return Counter((fact.path, fact.seen, str(fact.gone), fact.sha256) for fact in facts)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


def lines_of(state: Path) -> list[LogLine]:
    """All that the spool has."""
    with closing(sqlite3.connect(state / "spool.db")) as db:
        rows = db.execute("SELECT count, data FROM batch ORDER BY first_seq").fetchall()
    return [line for count, data in rows for line in unpack(data, count)]


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (Watched, False),
        (Watched, True),
        (Rooted, False),
        (Rooted, True),
        (Policed, False),
        pytest.param(
            Registered, False, marks=pytest.mark.skipif(not SAMPLES, reason="needs HIDS_SAMPLES, a folder with hives")
        ),
    ],
)
def test_killed_at_any_point_nothing_is_missed_and_nothing_told_twice(
    tmp_path: Path, forks: Forks, kind: type[Host], *, after: bool
):
    host, state, config = kind(tmp_path / "host"), tmp_path / "state", tmp_path / "agent.toml"
    state.mkdir()
    config.write_text(host.config)

    def sweep(start: Path) -> Path:
        """Scan from one state, killed at each point; each time the next scan makes it whole. Returns the state at the end."""
        whole = tmp_path / f"{start.name}-whole"
        shutil.copytree(start, whole)
        assert forks.scan(Order(str(config), str(whole)))
        expected = kind.told(lines_of(whole))
        point = 1
        while True:
            cut = tmp_path / f"{start.name}-{point}"
            shutil.copytree(start, cut)
            if forks.scan(Order(str(config), str(cut), point, after)):
                break
            assert forks.scan(Order(str(config), str(cut)))
            assert kind.told(lines_of(cut)) == expected, f"killed at transaction {point}"
            point += 1
        assert point > 2
        return whole

    first = sweep(state)
    host.change()
    before, told = kind.told(lines_of(first)), kind.told(lines_of(sweep(first)))
    assert len(told - before) >= 2, "the second scan had something to tell"
