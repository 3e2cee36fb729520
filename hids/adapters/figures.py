"""The manager's figures, from its disk and its tree: one table for Prometheus and OpenTelemetry."""

from collections.abc import Mapping
from typing import Any

from hids.adapters.paths import ManagerPaths
from hids.adapters.proof import Proof
from hids.adapters.rulestats import read_stats
from hids.core.exposition import Row, of_ledger, of_rules, of_status
from hids.errors import StoreError

DAY_MS = 86_400_000


def all_figures(paths: ManagerPaths, status: Mapping[str, Any], now_ms: int) -> list[Row]:
    """Every figure; `status` is what `hidsctl status` is told. Blocks while it reads."""
    return [*from_disk(paths, now_ms), *of_status(status)]


def from_disk(paths: ManagerPaths, now_ms: int) -> list[Row]:
    """The ledger's and the rules' figures; a ledger that cannot be read costs its own figures only."""
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
