"""What the manager tells Prometheus: its tree, its ledger, its rules."""

import asyncio
from collections.abc import Callable
from typing import Any

from hids.adapters.figures import all_figures
from hids.adapters.paths import ManagerPaths
from hids.core.exposition import text


async def measure(paths: ManagerPaths, status: Callable[[], dict[str, Any]], now_ms: int) -> str:
    """All figures as text. What is on disk is read in a thread."""
    return text(await asyncio.to_thread(all_figures, paths, status(), now_ms))
