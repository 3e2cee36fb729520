"""The baseline from the outside: packages and trojans, maintenances, agreement; through kill -9 of everybody."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from debs import DebianRoot, needs_dpkg
from stand import Stand, wait_for

from hids.adapters.baselines import Baselines
from hids.agent.filecache import FileCache
from hids.agent.spooler import RecallRange
from hids.messages.baseline import Baseline
from hids.messages.syscheck import FileFact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), needs_dpkg]

FILES = {f"usr/bin/t{number}": f"one {number}" for number in range(8)}
UPGRADED = {path: text.replace("one", "two") for path, text in FILES.items()}
CONF = "etc/demo.conf"
NOTHING = Baseline(FileFact(path="", seen="scan"))


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRoot]:
    debian = DebianRoot(tmp_path_factory.mktemp("debian"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPKG_ADMINDIR", str(debian.admin))
        patch.setenv("DPKG_ROOT", str(debian.root))
        yield debian


@pytest.fixture(scope="module")
def stand(debian: DebianRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("stand"))
    stand.settings = "[workers]\ncount = 1\n"
    stand.start_manager()
    stand.join("web1")
    start_agent(stand, debian)
    yield stand
    stand.close()


def start_agent(stand: Stand, debian: DebianRoot) -> None:
    status = stand.agent_folder("web1") / "state" / "status.json"
    status.unlink(missing_ok=True)
    stand.start_agent("web1", f'[syscheck]\ndirectories = ["{debian.root}"]\n')

    def is_idle() -> bool:
        if not status.exists():
            return False
        sources = json.loads(status.read_bytes())["sources"]
        return any(source["name"] == "syscheck" and source["idle"] for source in sources)

    wait_for(is_idle, "the agent has looked at all")


def history(stand: Stand) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = stand.ctl("syscheck", "list", "001", "--all", "--limit", "100000")
    return changes


def verdicts(stand: Stand, debian: DebianRoot, since: int = 0) -> dict[str, str]:
    """Path below the root -> "event verdict" of the last change."""
    root = str(debian.root) + "/"
    return {
        entry["path"].removeprefix(root): f"{entry['event']} {entry['told'].get('verdict', '')}".strip()
        for entry in reversed(history(stand))
        if entry["number"] > since
    }


def newest(stand: Stand) -> int:
    return max((entry["number"] for entry in history(stand)), default=0)


def loud(stand: Stand) -> list[str]:
    return [alert["full_log"].partition("\n")[0] for alert in stand.alerts() if alert["rule"]["level"] >= 7]


def test_a_trojan_in_an_upgrade_is_the_only_high_alert(stand: Stand, debian: DebianRoot):
    debian.dpkg("-i", str(debian.build("1.0", FILES | {CONF: "a = 1", "usr/bin/old": "x"}, (CONF,))))
    installed = dict.fromkeys(("usr", "usr/bin", "etc", CONF, "usr/bin/old", *FILES), "added package")
    wait_for(lambda: verdicts(stand, debian) == installed, "the installation is recorded")
    trojan = debian.root / "usr/bin/t3"
    upgrade = debian.build("2.0", UPGRADED | {CONF: "a = 2"}, (CONF,))
    before = newest(stand)
    debian.dpkg(f"--post-invoke=echo trojan > {trojan}", "-i", str(upgrade))
    expected = dict.fromkeys(UPGRADED, "modified package")
    expected |= {"usr/bin/t3": "modified wrong", CONF: "modified package", "usr/bin/old": "deleted package"}
    wait_for(lambda: verdicts(stand, debian, before) == expected, "the upgrade is recorded")
    wait_for(lambda: stand.rules()["206163"] == 1, "the trojan is an alert")
    assert loud(stand) == [f"Not what the package has: File '{trojan}' modified: {changed(stand, trojan)}"]
    assert stand.ctl("syscheck", "list", "001")[0]["path"] == str(trojan)  # what a package answers for is not open
    shown = stand.ctl("syscheck", "show", str(trojan))
    assert shown[0]["package"] == {"name": "demo", "version": "2.0", "content": "other", "recent": True}


def changed(stand: Stand, path: Path) -> str:
    last = stand.ctl("syscheck", "history", str(path))[-1]
    return ", ".join(last["told"]["changed_attributes"])


def test_nobody_is_judged_while_dpkg_is_at_work(stand: Stand, debian: DebianRoot):
    """What is there in the middle is nobody's business: a package manager writes files first and its database later."""
    before, half, done = newest(stand), debian.root / "usr/bin/t4", debian.root / "usr/bin/marker"
    code = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(debian.admin / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as dpkg:
        assert dpkg.stdout is not None
        dpkg.stdout.readline()
        half.write_text("half of it")
        stand.ctl("syscheck", "rescan", "web1")
        stand.ctl("syscheck", "list")
        half.write_text(UPGRADED["usr/bin/t4"])
        done.write_text("x")
        dpkg.kill()
    wait_for(lambda: "usr/bin/marker" in verdicts(stand, debian, before), "it goes on when dpkg is done")
    assert "usr/bin/t4" not in verdicts(stand, debian, before)
    done.unlink()
    wait_for(lambda: verdicts(stand, debian, before) == {"usr/bin/marker": "deleted"}, "the marker is gone")


def test_a_maintenance_quiets_what_may_vary_and_nothing_else(stand: Stand, debian: DebianRoot):
    started = stand.ctl("maintenance", "start", "--agent", "web1", "--owner", "alice", "--reason", "tuning")
    lane = stand.pid_of("lane")
    os.kill(lane, 9)
    stand.pid_of("lane", before=lane)
    before, alerts = newest(stand), len(loud(stand))
    (debian.root / CONF).write_text("a = 3")
    (debian.root / "usr/bin/new").write_text("x")
    (debian.root / "usr/bin/t0").write_text("not the package's")
    expected = {CONF: "modified maintenance", "usr/bin/new": "added", "usr/bin/t0": "modified wrong"}
    wait_for(lambda: verdicts(stand, debian, before) == expected, "the changes are recorded")
    owners = {entry["told"]["maintenance"]["owner"] for entry in history(stand) if entry["number"] > before}
    assert owners == {"alice"}
    wait_for(lambda: len(loud(stand)) == alerts + 1, "what no package explains is an alert")
    assert [row["id"] for row in stand.ctl("maintenance", "status")] == [started["id"]]
    stand.ctl("maintenance", "end")
    assert stand.ctl("maintenance", "status", status=1) == []
    wait_for(lambda: stand.rules()["206165"] == 2, "begin and end are told")
    before = newest(stand)
    (debian.root / CONF).write_text("a = 4")
    wait_for(lambda: verdicts(stand, debian, before) == {CONF: "modified"}, "it is over")


def test_orders_are_done_when_hidsctl_says_so(stand: Stand, debian: DebianRoot):
    path = str(debian.root / "usr/bin/t1")
    stand.ctl("syscheck", "accept", "web1")
    assert stand.ctl("syscheck", "list", "web1") == []
    stand.ctl("syscheck", "ignore", "web1", path)
    assert stand.ctl("syscheck", "show", path, "--agent", "web1")[0]["ignored"]
    stand.ctl("syscheck", "zero", "web1", path)
    assert not stand.ctl("syscheck", "show", path)[0]["ignored"]
    assert "nothing is known" in stand.ctl("syscheck", "show", "/no/such", status=1)
    stand.ctl("syscheck", "clear", "web1", path)
    reader = Baselines(stand.paths.ledger)
    wait_for(lambda: path in reader.at(path).get("001", NOTHING).fact.path, "it is known again")
    assert stand.ctl("syscheck", "history", path) == []


def test_an_export_is_signed(stand: Stand, tmp_path: Path):
    file = tmp_path / "web1.baseline"
    stand.run("hids.cli.hidsctl", "--state", str(stand.paths.lib), "syscheck", "export", "web1", "-o", str(file))
    sound = stand.ctl("syscheck", "verify-export", str(file))
    assert sound["sound"]
    assert sound["entries"] == stand.ctl("syscheck", "list")[0]["paths"]
    file.write_bytes(file.read_bytes().replace(b"root", b"toor", 1))
    assert "altered" in stand.ctl("syscheck", "verify-export", str(file), status=1)


def test_an_altered_cache_shows_and_what_it_hid_is_told(stand: Stand, debian: DebianRoot):
    stand.agents["web1"].kill()
    start_agent(stand, debian)  # a scan looks once more at what was never scanned
    wait_for(lambda: stand.ask("agent", agent="web1")["state"] == "connected", "the agent is back")
    assert stand.ctl("syscheck", "verify", "web1")["agrees"]
    hidden, forgotten = debian.root / "usr/bin/t5", debian.root / "usr/bin/t6"
    stand.agents["web1"].kill()
    hidden.write_text("hidden by who altered the cache")
    forgotten.unlink()
    pretend(stand.agent_folder("web1") / "state" / "spool.db", hidden, forgotten)
    before = newest(stand)
    start_agent(stand, debian)
    assert verdicts(stand, debian, before) == {}  # so far it works
    wait_for(lambda: stand.ask("agent", agent="web1")["state"] == "connected", "the agent is back")
    said = stand.ctl("syscheck", "verify", "web1", status=1)
    assert said["differing"] == [f"{debian.root}/usr/bin/"]
    expected = {"usr/bin/t5": "modified wrong", "usr/bin/t6": "deleted"}
    wait_for(lambda: verdicts(stand, debian, before) == expected, "what was hidden is told")
    wait_for(lambda: stand.rules()["206166"] == 1, "that they differ is an alert")
    assert stand.ctl("syscheck", "verify", "web1")["agrees"]


def pretend(spool: Path, hidden: Path, forgotten: Path) -> None:
    """Have the agent's cache say that a changed file is as it was, and that another was never there."""
    with closing(sqlite3.connect(spool)) as db:

        def ask(question: object) -> list[tuple[str, bytes]]:
            assert isinstance(question, RecallRange)
            query = "SELECT key, value FROM position WHERE key>=? AND key<? ORDER BY key LIMIT ?"
            return db.execute(query, (question.first, question.end, question.limit)).fetchall()

        cache = FileCache(ask)
        directory = str(hidden.parent)
        for part in list(cache.parts(directory)):
            part.entries.pop(forgotten.name, None)
            if hidden.name in part.entries:
                known, info = part.entries[hidden.name], hidden.stat()
                fact = msgspec.structs.replace(
                    known.fact, size=info.st_size, mtime_ns=info.st_mtime_ns, inode=info.st_ino
                )
                part.entries[hidden.name] = msgspec.structs.replace(known, fact=fact, ctime_ns=info.st_ctime_ns)
            for key, value in cache.written(directory, part).items():
                db.execute("INSERT OR REPLACE INTO position VALUES (?,?)", (key, value))
        db.commit()


@pytest.mark.fault
@pytest.mark.parametrize(("version", "victims"), [("3.0", "agent"), ("4.0", "manager"), ("5.0", "both")])
def test_each_change_is_recorded_once_through_kill_9(stand: Stand, debian: DebianRoot, version: str, victims: str):
    before, high = newest(stand), stand.rules()["206163"]
    trojan = debian.root / "usr/bin/t2"
    package = debian.build(version, dict.fromkeys(FILES, f"version {version}"))
    debian.dpkg(f"--post-invoke=echo trojan {version} > {trojan}", "-i", str(package))
    if victims != "manager":
        stand.agents["web1"].kill()
    if victims != "agent":
        assert stand.manager is not None
        stand.manager.kill()
        stand.start_manager()
    if victims != "manager":
        start_agent(stand, debian)
    wait_for(lambda: FILES.keys() <= verdicts(stand, debian, before).keys(), f"{version} is recorded")
    wait_for(lambda: stand.rules()["206163"] == high + 1, "the trojan is one alert")
    done = [entry for entry in history(stand) if entry["number"] > before]
    wrong = [entry["path"] for entry in done if entry["told"].get("verdict") == "wrong"]
    assert wrong == [str(trojan)]
    for path in FILES.keys() - {"usr/bin/t2"}:
        mine = [entry for entry in done if entry["path"] == str(debian.root / path)]
        assert [entry["told"].get("verdict") for entry in mine] == ["package"], path
    wait_for(lambda: stand.ask("agent", agent="web1")["state"] == "connected", "the agent is back")
    assert stand.ctl("syscheck", "verify", "web1")["agrees"]
