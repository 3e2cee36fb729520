"""What the manager tells Prometheus: its tree, its ledger, its rules."""

import asyncio
from collections.abc import Callable
from typing import Any

from hids.adapters.paths import ManagerPaths
from hids.adapters.proof import Proof
from hids.adapters.rulestats import read_stats
from hids.core.exposition import Row, of_ledger, of_rules, of_status, text
from hids.errors import StoreError

DAY_MS = 86_400_000


async def measure(paths: ManagerPaths, status: Callable[[], dict[str, Any]], now_ms: int) -> str:
    """All figures as text. What is on disk is read in a thread; a ledger that cannot be read costs its own figures only."""
    tree = list(of_status(status()))
    return text([*await asyncio.to_thread(from_disk, paths, now_ms), *tree])


def from_disk(paths: ManagerPaths, now_ms: int) -> list[Row]:
    """The ledger's and the rules' figures."""
    rows: list[Row] = []
    try:
        proof = Proof(paths.ledger)
        rows += of_ledger(proof.totals(), len(proof.account(now_ms - DAY_MS).gaps()))
        for ruleset in read_stats(paths):
            rows += of_rules(ruleset.name, ruleset.fired, ruleset.sampled)
    except StoreError:
        rows.append(("hids_ledger_readable", "1 when the ledger can be read.", {}, 0))
    else:
        rows.append(("hids_ledger_readable", "1 when the ledger can be read.", {}, 1))
    return rows
