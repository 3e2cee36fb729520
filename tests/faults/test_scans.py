"""A lane that dies at each point of a commit while syscheck, rootcheck and a policy tell what is new: each is told once."""

from collections import Counter
from pathlib import Path

import pytest
from stand import Stand, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

SABOTAGE = """
import os, signal, sys

if "hids.workers.lane" in sys.orig_argv:
    from hids.adapters.ledger import Ledger
    from hids.adapters.policies import PolicyStore

    def deadly(kind, name, before, after):
        real = getattr(kind, name)

        def call(self, *arguments):
            die(before)
            result = real(self, *arguments)
            die(after)
            return result

        setattr(kind, name, call)

    def die(point):
        try:
            os.unlink(os.path.join({folder!r}, point))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    deadly(Ledger, "commit", "before commit", "after commit")
    deadly(PolicyStore, "record", "before record", "after record")
"""
POINTS = ("before record", "after record", "before commit", "after commit")
OFF = "".join(
    f"check_{name} = false\n" for name in ("pids", "ports", "if", "deleted", "modules", "sys", "setuid", "preload")
)


class Host:
    """What the agent scans, for all three."""

    def __init__(self, folder: Path) -> None:
        self.watched, self.root, self.files = folder / "watched", folder / "root", folder / "files"
        for path in (self.watched, self.root / "tmp", self.files):
            path.mkdir(parents=True, mode=0o755)
        for number in range(3):
            (self.watched / f"f{number}").write_text("one")
            (self.files / f"c{number}").write_text("good\n")
        checks = "".join(
            f"  - {{id: {number}, title: t, condition: all, rules: ['f:{self.files}/c{number} -> r:good']}}\n"
            for number in range(3)
        )
        policy = self.files / "p.yml"
        policy.write_text(f"policy: {{id: p, file: p.yml, name: P, description: d}}\nchecks:\n{checks}")
        policy.chmod(0o644)
        self.config = (
            f'[syscheck]\ndirectories = ["{self.watched}"]\n[policy]\nfiles = ["{policy}"]\n'
            f"[rootcheck]\ndisabled = false\nmax_rest_s = 0\nbase_directory = '{self.root}'\nignore = ['/proc/*']\n{OFF}"
        )

    def worsen(self) -> None:
        """Something for each of the three."""
        for number in range(3):
            (self.watched / f"f{number}").write_text("two")
            (self.files / f"c{number}").write_text("bad\n")
        (self.root / "tmp/kinsing").touch()


def test_each_is_told_once(stand: Stand):
    host, points = Host(stand.folder), stand.folder / "points"
    points.mkdir()
    stand.before = stand.folder / "before"
    stand.before.mkdir()
    (stand.before / "sitecustomize.py").write_text(SABOTAGE.format(folder=str(points)))
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", host.config)
    wait_for(lambda: "syscheck: scan finished" in stand.agents["web1"].output(), "the baseline")
    wait_for(lambda: stand.rules()["206501"], "the first score")
    wait_for(lambda: stand.paths.rootcheck.exists() and stand.ctl("rootcheck", "last"), "the first scan")
    stand.agents["web1"].kill()
    host.worsen()
    for point in POINTS:
        (points / point).touch()
    stand.start_agent("web1", host.config)
    expected = {"206504": 3, "206403": 1, "206002": 3}
    wait_for(lambda: expected.keys() <= {rule for rule, count in stand.rules().items() if count}, "all are told", 90)
    wait_for(lambda: not list(points.iterdir()), "it died at each point")
    wait_for(lambda: sum(stand.rules()[rule] for rule in expected) >= sum(expected.values()), "all are told", 90)
    assert {rule: stand.rules()[rule] for rule in expected} == expected
    ids = Counter(alert["id"] for alert in stand.alerts())
    assert set(ids.values()) == {1}
    failed = stand.ctl("policy", "show", "--result", "failed")
    assert [(row["id"], row["previous"]) for row in failed] == [(0, "passed"), (1, "passed"), (2, "passed")]
    assert len(stand.ctl("rootcheck", "outstanding")) == 1
    for path in host.watched.iterdir():
        assert [entry["event"] for entry in stand.ctl("syscheck", "history", str(path))] == ["modified"]
