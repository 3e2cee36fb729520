"""A host to look at: a folder, and what is made wrong in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hids.agent.checks.host import Host, Steps
from hids.agent.config import RootcheckConfig
from hids.agent.paths import Excluded


@pytest.fixture
def make_host(tmp_path: Path) -> Callable[..., Host]:
    """A function: a host whose base folder is `tmp_path / "root"`, with these keys of [rootcheck]."""
    (tmp_path / "root").mkdir(exist_ok=True)

    def make(**keys: Any) -> Host:
        keys.setdefault("base_directory", str(tmp_path / "root"))
        return Host(RootcheckConfig(**keys), Excluded(()))

    return make


@pytest.fixture(scope="session")
def texts() -> Callable[[Steps], list[str]]:
    """A function: what a check finds."""
    return lambda steps: [step.text for step in steps if step is not None]
