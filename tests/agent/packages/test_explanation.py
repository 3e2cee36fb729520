"""Who answers for what syscheck found, asked of a real dpkg."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from debs import DebianRoot, needs_dpkg
from waiting import SetClock

from hids.adapters.clock import SystemClock
from hids.agent.packages.dpkg import Alternatives
from hids.agent.packages.explanation import BUSY_S, Explanation
from hids.agent.packages.owners import KEPT_MS, Owners
from hids.agent.paths import shown
from hids.messages.syscheck import FileFact

pytestmark = needs_dpkg
HOUR_MS = 3_600_000


@pytest.fixture
def debian(tmp_path: Path) -> DebianRoot:
    return DebianRoot(tmp_path)


@pytest.fixture
def packages(debian: DebianRoot, tmp_path: Path) -> Iterator[Explanation]:
    opened = Explanation(
        tmp_path / "packages.db", [debian.database], [str(debian.root)], SystemClock(), lambda _s: None
    )
    opened.sync()
    yield opened
    opened.close()


def fact(path: Path, **more: object) -> FileFact:
    """What syscheck would say of a path."""
    if not os.path.lexists(path):
        return FileFact(path=shown(str(path)), seen="live", gone=True)
    kind = "link" if path.is_symlink() else "dir" if path.is_dir() else "file"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if kind == "file" else ""
    return FileFact(path=shown(str(path)), seen="live", kind=kind, sha256=sha256, **more)  # type: ignore[arg-type]


def answers(packages: Explanation, *facts: FileFact) -> list[tuple[str, str, bool] | None]:
    explained = packages.explain(facts)
    return [each.package and (each.package.version, each.package.content, each.package.recent) for each in explained]


def test_an_installation_and_a_trojan(debian: DebianRoot, packages: Explanation):
    files = {"usr/bin/a": "a", "usr/bin/b": "b", "etc/c.conf": "c"}
    debian.dpkg("-i", str(debian.build("1.0", files, ("etc/c.conf",))))
    a, b, c, d = (debian.root / path for path in ("usr/bin/a", "usr/bin/b", "etc/c.conf", "usr/bin/d"))
    b.write_text("trojan")
    c.write_text("mine")
    d.write_text("nobody's")
    assert answers(packages, fact(a), fact(b), fact(c), fact(d), fact(debian.root / "usr")) == [
        ("1.0", "same", True),
        ("1.0", "other", True),
        ("1.0", "conffile", True),
        None,
        ("1.0", "same", True),
    ]


def test_a_baseline_is_not_asked_about(debian: DebianRoot, packages: Explanation):
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a"})))
    seen = fact(debian.root / "usr/bin/a")
    baseline = FileFact(path=seen.path, seen="baseline")
    assert packages.explain([baseline]) == [baseline]
    assert packages.explain([baseline, seen])[0] == baseline


def test_an_upgrade_lets_go_and_a_removal_does(debian: DebianRoot, packages: Explanation, tmp_path: Path):
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a", "usr/bin/old": "o"})))
    packages.sync()
    debian.dpkg("-i", str(debian.build("2.0", {"usr/bin/a": "A"})))
    a, old = debian.root / "usr/bin/a", debian.root / "usr/bin/old"
    assert answers(packages, fact(old), fact(a)) == [("2.0", "same", True), ("2.0", "same", True)]
    a.unlink()
    assert answers(packages, fact(a)) == [("2.0", "unknown", False)]  # the package still has it
    debian.dpkg("--purge", "demo")
    assert answers(packages, fact(a)) == [("2.0", "same", True)]
    again = Explanation(tmp_path / "packages.db", [debian.database], [str(debian.root)], SystemClock(), lambda _s: None)
    assert answers(again, fact(a)) == [("2.0", "same", True)]  # after a restart as well
    again.close()


def test_what_was_there_before_is_not_recent(debian: DebianRoot, tmp_path: Path):
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a"})))
    listed = debian.admin / "info" / "demo.list"
    os.utime(listed, (1_700_000_000, 1_700_000_000))
    packages = Explanation(tmp_path / "p.db", [debian.database], [str(debian.root)], SystemClock(), lambda _s: None)
    packages.sync()
    a = debian.root / "usr/bin/a"
    a.write_text("trojan")
    assert answers(packages, fact(a)) == [("1.0", "other", False)]
    a.write_text("a")
    assert answers(packages, fact(a)) == [("1.0", "same", False)]
    packages.close()


def test_altered_sums_are_not_believed(debian: DebianRoot, packages: Explanation):
    """Sums are taken when the package changes; who alters them later alters nothing."""
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a"})))
    packages.sync()
    a = debian.root / "usr/bin/a"
    a.write_text("trojan")
    sums = debian.admin / "info" / "demo.md5sums"
    sums.write_text(f"{hashlib.md5(b'trojan', usedforsecurity=False).hexdigest()}  usr/bin/a\n")
    assert answers(packages, fact(a)) == [("1.0", "other", True)]


def test_links_answer_by_what_they_point_at(debian: DebianRoot, packages: Explanation, tmp_path: Path):
    tree = tmp_path / "build-demo-1.0"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/libx.so.1").symlink_to("libx.so.1.0")
    debian.dpkg("-i", str(debian.build("1.0", {"usr/lib/libx.so.1.0": "x"})))
    link = debian.root / "usr/lib/libx.so.1"
    assert answers(packages, fact(link)) == [("1.0", "same", True)]
    link.unlink()
    link.symlink_to("/srv/evil")
    assert answers(packages, fact(link)) == [("1.0", "unknown", True)]


def test_alternatives_lead_to_a_packages_file_or_nowhere_good(debian: DebianRoot, tmp_path: Path):
    alternatives = debian.admin / "alternatives"
    (debian.root / "etc" / "alternatives").mkdir(parents=True)
    alternatives.mkdir()
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/demo-one": "x", "opt/elsewhere": "y"})))
    places = [str(debian.root / "usr"), str(debian.root / "etc")]
    known = [debian.database, Alternatives(alternatives, str(debian.root))]
    packages = Explanation(tmp_path / "p.db", known, places, SystemClock(), lambda _s: None)
    packages.sync()
    name = debian.root / "etc/alternatives/demo"
    link = debian.root / "usr/bin/demo"
    (alternatives / "demo").write_text(f"auto\n/usr/bin/demo\n\n{debian.root}/usr/bin/demo-one\n5\n\n")
    link.symlink_to(name)
    for target in ("usr/bin/demo-one", "opt/elsewhere"):  # also what is not watched
        name.unlink(missing_ok=True)
        name.symlink_to(debian.root / target)
        assert answers(packages, fact(link), fact(name)) == [("", "same", True)] * 2
    name.unlink()
    name.symlink_to(debian.root / "usr/bin/evil")
    (debian.root / "usr/bin/evil").write_text("evil")
    assert answers(packages, fact(link), fact(name)) == [("", "unknown", True)] * 2
    name.unlink()
    link.unlink()
    (alternatives / "demo").unlink()
    assert answers(packages, fact(link), fact(name)) == [("", "same", True)] * 2
    packages.close()


def test_names_in_passing_belong_to_their_package(debian: DebianRoot, packages: Explanation):
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a"})))
    passing = debian.root / "usr/bin/a.dpkg-new"
    assert answers(packages, FileFact(path=str(passing), seen="scan")) == [("1.0", "same", True)]
    passing.write_text("stays")
    assert answers(packages, fact(passing)) == [None]
    assert answers(packages, FileFact(path=str(debian.root / "b.dpkg-new"), seen="scan")) == [None]


def test_any_bytes_may_be_in_a_name(debian: DebianRoot, packages: Explanation):
    debian.dpkg("-i", str(debian.build("1.0", {"opt/back\\slash é": "x"})))
    assert answers(packages, fact(debian.root / "opt/back\\slash é")) == [("1.0", "same", True)]


def test_a_package_manager_at_work_is_waited_for_but_not_for_ever(debian: DebianRoot, tmp_path: Path):
    clock = SetClock()
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        clock.advance(seconds)

    (debian.admin / "lock").touch()
    packages = Explanation(tmp_path / "p.db", [debian.database], [str(debian.root)], clock, rest)
    packages.await_quiet()
    assert rests == []
    code = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(debian.admin / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        locker.stdout.readline()
        packages.await_quiet()
        assert sum(rests) == pytest.approx(BUSY_S, abs=1)
        rests.clear()
        packages.await_quiet()
        assert rests == []  # once for each time
        locker.kill()
        locker.wait(10)
    packages.await_quiet()
    packages.close()


def test_the_index_forgets_in_time_and_is_made_anew_when_broken(debian: DebianRoot, tmp_path: Path):
    path, roots = tmp_path / "owners.db", [str(debian.root)]
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/a": "a"})))
    a = os.fsencode(debian.root / "usr/bin/a")
    owners = Owners(path, [debian.database], roots)
    owners.sync(HOUR_MS)
    debian.dpkg("--purge", "demo")
    owners.sync(2 * HOUR_MS)
    assert [owner.gone for owner in owners.of(a)] == [True]
    debian.dpkg("-i", str(debian.build("2.0", {"usr/bin/b": "b"}, name="other")))
    owners.sync(3 * HOUR_MS + KEPT_MS)
    assert owners.of(a) == []
    owners.close()
    path.write_bytes(b"no database" * 1000)
    again = Owners(path, [debian.database], roots)
    again.sync(4 * HOUR_MS)
    assert [owner.package for owner in again.of(os.fsencode(debian.root / "usr/bin/b"))] == ["other"]
    again.close()
    elsewhere = Owners(path, [debian.database], ["/elsewhere"])
    elsewhere.sync(5 * HOUR_MS)
    assert elsewhere.of(os.fsencode(debian.root / "usr/bin/b")) == []
    elsewhere.close()


def test_without_a_package_manager_nothing_is_explained(tmp_path: Path):
    packages = Explanation(tmp_path / "p.db", [], ["/"], SystemClock(), lambda _s: None)
    seen = FileFact(path="/usr/bin/x", seen="live")
    packages.sync()
    packages.await_quiet()
    assert packages.explain([seen]) == [seen]
    packages.close()
    assert not (tmp_path / "p.db").exists()
