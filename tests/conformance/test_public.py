"""Every public case of both suites must be answered as upstream's own engine answered it."""

import os
from functools import cache
from pathlib import Path

import pytest

from tools import conformance
from tools.upstream import read_load

pytestmark = pytest.mark.slow

FOLDER = os.environ.get("HIDS_CONFORMANCE")
FILES = sorted(Path(FOLDER).glob("*/tests/*.jsonl")) if FOLDER else []


@cache
def engine(suite: Path) -> conformance.Engine:
    return conformance.Engine(read_load(suite / "load.json"))


@pytest.mark.skipif(not FOLDER, reason="HIDS_CONFORMANCE does not name the folder of upstream's rules and tests")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_all_cases_of_a_file_agree(path: Path) -> None:
    suite = engine(path.parent.parent)
    wrong = [
        d for case in conformance.read_cases(path, suite.order.suite) for d in conformance.differences(case, suite)
    ]
    assert "\n".join(map(str, wrong)) == ""


@pytest.mark.skipif(not FOLDER, reason="HIDS_CONFORMANCE does not name the folder of upstream's rules and tests")
def test_all_public_cases_are_there() -> None:
    counts = {
        suite: sum(len(path.read_text().splitlines()) for path in FILES if path.parent.parent.name == suite)
        for suite in ("ossec", "wazuh")
    }
    assert counts == {"ossec": 195, "wazuh": 959}
