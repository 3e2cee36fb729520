"""The shipped policy beside stat, sysctl and dpkg on this very machine."""

import shutil
from pathlib import Path

import policy_by_hand
import pytest

OS = Path("/etc/os-release")
IS_DEBIAN_12 = OS.exists() and {"ID=debian", 'VERSION_ID="12"'} <= set(OS.read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
@pytest.mark.skipif(not IS_DEBIAN_12, reason="the policy is for Debian 12")
@pytest.mark.skipif(shutil.which("sysctl") is None, reason="sysctl (package procps) is not installed")
def test_both_ways_say_the_same():
    rows = list(policy_by_hand.rows())
    assert len(rows) >= 20
    assert [row for row in rows if row.by_hids not in (row.by_hand, "not applicable")] == []
    assert {row.by_hids for row in rows} >= {"passed"}
