"""Rootcheck from outside: a real agent and manager, kills, what is outstanding, and OSSEC's and Wazuh's own rules."""

import os
from pathlib import Path
from typing import Any

import pytest
from stand import Stand, wait_for

from hids.adapters.findings import FindingsReader
from hids.errors import StoreError

pytestmark = pytest.mark.slow

CONFORMANCE = os.environ.get("HIDS_CONFORMANCE")
OFF = "".join(
    f"check_{name} = false\n" for name in ("pids", "ports", "if", "deleted", "modules", "sys", "setuid", "preload")
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("etc", "tmp", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "etc/sshd_config").write_text("PermitRootLogin yes\n")
    (root / "audit.txt").write_text("[Root may log in] [any] [x]\nf:/etc/sshd_config -> r:^PermitRootLogin yes;\n")
    (root / "tmp/kinsing").touch()
    (root / "dev/hidden").touch()
    return root


def config(root: Path) -> str:
    return (
        f"[rootcheck]\ndisabled = false\nmax_rest_s = 0\nbase_directory = '{root}'\nsystem_audit = ['{root}/audit.txt']\n"
        f"ignore = ['/proc/*']\n{OFF}"
    )


def texts(stand: Stand, which: str, *, some: bool = True) -> list[str]:
    rows: list[dict[str, Any]] = stand.ctl("rootcheck", which, status=0 if some else 1)
    return sorted(row["text"].partition(" MD5=")[0] for row in rows)


def ended(stand: Stand, before: int) -> int:
    """Wait for the end of a scan later than `before`; returns its time."""

    def look() -> int:
        if not stand.paths.rootcheck.exists():
            return 0
        try:
            return max((row.ended_ms for row in FindingsReader(stand.paths.rootcheck).scans()), default=0)
        except StoreError:  # the lane is making it
            return 0

    return wait_for(lambda: (now := look()) > before and now, "the end of a scan")


def test_what_is_found_is_told_once_through_kills_and_resolved_when_it_is_gone(stand: Stand, root: Path):
    stand.start_manager()
    stand.join("web1")
    agent = stand.start_agent("web1", config(root))
    last = ended(stand, 0)
    expected = {"206403": 1, "206405": 1, "206418": 1}
    wait_for(lambda: expected.items() <= stand.rules().items(), "an alert for each")
    found = texts(stand, "outstanding")
    assert found == [
        f"File '{root}/dev/hidden' present on /dev. Only devices should be there.",
        f"Rootkit 'Kinsing' detected by the presence of file '{root}/tmp/kinsing'.",  # noqa: S108
        f"System Audit: Root may log in. File: {root}/etc/sshd_config. Reference: x .",
    ]

    assert stand.manager is not None
    agent.kill()
    stand.manager.kill()
    stand.start_manager()
    agent = stand.start_agent("web1", config(root))
    last = ended(stand, last)
    assert texts(stand, "outstanding") == found

    agent.kill()
    (root / "tmp/kinsing").unlink()
    (root / "etc/sshd_config").write_text("PermitRootLogin no\n")
    agent = stand.start_agent("web1", config(root))
    last = ended(stand, last)
    assert texts(stand, "outstanding") == found[:1]
    assert texts(stand, "resolved") == found[1:]
    assert {rule: stand.rules()[rule] for rule in expected} == expected, "nothing was told twice"

    agent.kill()
    (root / "tmp/kinsing").touch()
    stand.start_agent("web1", config(root))
    ended(stand, last)
    wait_for(lambda: stand.rules()["206403"] == 2, "it came back, so it is told again")
    assert stand.ctl("rootcheck", "clear", "--all") == {"cleared": 3}
    assert texts(stand, "list", some=False) == []


@pytest.mark.skipif(
    CONFORMANCE is None, reason="HIDS_CONFORMANCE does not name a folder with the rules of OSSEC and Wazuh"
)
@pytest.mark.parametrize(
    ("dialect", "files"),
    [
        ("ossec", ("decoders/decoder.xml", "rules/rules_config.xml", "rules/ossec_rules.xml")),
        ("wazuh", ("decoders/0200-ossec_decoders.xml", "rules/0010-rules_config.xml", "rules/0015-ossec_rules.xml")),
    ],
)
def test_stock_rules_fire(stand: Stand, root: Path, dialect: str, files: tuple[str, ...]):
    folder = stand.folder / "rules"
    folder.mkdir()
    (folder / "order").write_text("".join(f"{Path(CONFORMANCE or '', dialect, file)}\n" for file in files))
    stand.settings = f'[alerts]\nlevel = 1\n[[ruleset]]\nname = "stock"\npath = "{folder}"\ndialect = "{dialect}"\n'
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", config(root))
    ended(stand, 0)

    def told() -> set[tuple[str, str]]:
        return {(alert["rule"]["id"], alert["full_log"].partition(" MD5=")[0]) for alert in stand.alerts()}

    expected = {
        ("510", f"Rootkit 'Kinsing' detected by the presence of file '{root}/tmp/kinsing'."),  # noqa: S108
        ("516", f"System Audit: Root may log in. File: {root}/etc/sshd_config. Reference: x ."),
    }
    wait_for(lambda: expected <= told(), "alerts of the stock rules")
    assert not [text for _, text in told() if "rootcheck scan" in text], "beginnings and ends of scans are of level 0"
