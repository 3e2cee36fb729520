#!/usr/bin/env python3
"""An agent that cannot reach its manager for long, and is started again meanwhile, while its log goes on being written.

    tools/outage                                          ten minutes, two agents, 500 lines a second
    tools/outage --minutes 60 --rate 500 --json           the backlog of an hour

Nothing is lost, nothing is doubled: it counts as tools/campaign does. Tells how much the spools held, and how fast it was
caught up. Exit status: 0 when every line and alert is there once.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from campaign import Fleet, count, delivered
from stand import wait_for

PATIENCE_S = 3_600.0


def spooled(fleet: Fleet) -> int:
    """Bytes of all agents' spools."""
    return sum(
        file.stat().st_size for name in fleet.names for file in (fleet.agent_folder(name) / "state").glob("spool*")
    )


def run(fleet: Fleet, seconds: float) -> dict[str, Any]:
    """Cut, start the agents again in the middle, mend, and count."""
    fleet.begin()
    wait_for(lambda: fleet.seen, "the first alert")
    fleet.wire.refuse(True)
    fleet.wire.cut()
    cut_s, before = time.monotonic(), sum(fleet.written.values())
    for name in fleet.names:
        wait_for(lambda: time.monotonic() - cut_s > seconds / 2, "half of the time", seconds)
        fleet.agents[name].kill()
    wait_for(lambda: time.monotonic() - cut_s > seconds, "the end of the outage", seconds)
    held = spooled(fleet)
    backlog = sum(fleet.written.values()) - before
    fleet.wire.refuse(False)
    mended_s = time.monotonic()
    fleet.end_load()
    wait_for(lambda: delivered(fleet), "everything has arrived", PATIENCE_S)
    arrived_s = time.monotonic() - mended_s
    wait_for(
        lambda: len(fleet.seen) >= len(fleet.attacks) <= len(fleet.receiver.seen), "everything is told", PATIENCE_S
    )
    wait_for(fleet.whole, "the tree is whole")
    return {
        "outage_s": round(seconds),
        "backlog_lines": backlog,
        "spool_bytes": held,
        "arrived_s": round(arrived_s, 1),
        "lines_per_s": round(backlog / arrived_s),
        "times_real_time": round(seconds / arrived_s, 1),
        "agents_started_again": fleet.ended.total() - fleet.ended["manager"],
        **count(fleet),
    }


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="without a network (%(default)s)")
    parser.add_argument("--agents", type=int, default=2, help="real agents (%(default)s)")
    parser.add_argument("--rate", type=float, default=500.0, help="lines a second of all together (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hids-outage-") as folder:
        fleet = Fleet(Path(folder), options.agents, options.rate)
        try:
            result = run(fleet, options.minutes * 60)
        finally:
            fleet.close()
    print(
        f"{result['outage_s']} s without a network: {result['backlog_lines']} lines waited in {result['spool_bytes']} bytes; "
        f"all arrived {result['arrived_s']} s after it was back, {result['lines_per_s']} a second"
    )
    print(
        f"lost: {result['lost']}, doubled: {result['doubled']}, the ledger {'balances' if result['balances'] else result['gaps']}"
    )
    if options.json:
        print(json.dumps(result))
    return int(bool(result["lost"] or result["doubled"] or not result["balances"]))


if __name__ == "__main__":
    sys.exit(main())
