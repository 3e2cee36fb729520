"""A stand with a joined agent that reads one log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    stand = Stand(tmp_path)
    try:
        yield stand
    finally:
        stand.close()
