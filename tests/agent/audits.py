"""The kernel's audit for tests: it is the whole host's, so that only one test has it at a time."""

import fcntl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hids.agent.audit import AuditError, Control, Reader


@contextmanager
def audit_alone() -> Generator[None]:
    """Skip where there is no audit; wait where another test has it."""
    with (Path(tempfile.gettempdir()) / "hids-tests-audit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            control = Control()
            status = control.status()
            control.close()
            Reader().close()
        except AuditError as error:
            pytest.skip(str(error))
        if status.enabled > 1:
            pytest.skip("the kernel's audit is locked")
        yield
