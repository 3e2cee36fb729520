"""Data beside the project that some tests compare with. Where it is not there, they are skipped and say so."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no bug, and compiling a set of patterns takes its time.
settings.register_profile("core", deadline=None)
settings.load_profile("core")


@pytest.fixture(scope="session")
def upstream() -> Path:
    """OSSEC's own rules and test expectations."""
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        pytest.skip("HIDS_CONFORMANCE is not set to the folder of the conformance data")
    return Path(folder) / "ossec"
