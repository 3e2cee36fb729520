#!/usr/bin/env python3
"""How fast a manager hears agents of OSSEC and Wazuh.

    tools/bench_legacy.py --agents 4 --lines 50000

Real connections (TCP, Wazuh's cipher, which push back instead of losing), everything encrypted beforehand; the clock
stops when the last line is committed. Prints one JSON object.
"""

import argparse
import json
import secrets
import tempfile
import threading
import time
from pathlib import Path

import psutil
from old_peers import OldAgent
from stand import Stand, wait_for

from hids.core.wire.ossec.cipher import Method
from hids.core.wire.ossec.keys import ClientKey


def main(options: argparse.Namespace) -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        stand.settings = f'[legacy]\nenabled = true\nudp = "127.0.0.1:0"\nshared = "{folder}/shared"\n'
        try:
            stand.start_manager()
            print(json.dumps(measure(stand, options)))
        finally:
            stand.close()


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, object]:
    """Send all lines of all agents at once."""
    keys = [ClientKey(f"{n:03}", f"old{n}", "any", secrets.token_hex(32)) for n in range(1, options.agents + 1)]
    stand.ask("legacy.import", text="\n".join(map(str, keys)))
    agents = [OldAgent(key, stand.ports["agents"], Method.WAZUH_AES, tcp=True) for key in keys]
    for agent in agents:
        agent.start()
    bodies = [[agent.body(line(agent.key.name, n)) for n in range(options.lines)] for agent in agents]
    process = psutil.Process(stand.pid_of("legacy"))
    before_s, began = sum(process.cpu_times()[:2]), time.monotonic()
    senders = [
        threading.Thread(target=lambda a=agent, b=body: [a.send_body(one) for one in b])
        for agent, body in zip(agents, bodies, strict=True)
    ]
    for sender in senders:
        sender.start()
    wanted = options.agents * options.lines
    wait_for(lambda: sum(row["committed"] for row in stand.ask("agents")) >= wanted, "all is committed", 600)
    seconds = time.monotonic() - began
    cpu_s = sum(process.cpu_times()[:2]) - before_s
    return {
        "lines": wanted,
        "seconds": round(seconds, 2),
        "lines_per_second": round(wanted / seconds),
        "legacy_cpu_s_per_million": round(cpu_s / wanted * 1e6, 1),
        "legacy_rss_mib": round(process.memory_info().rss / 1024**2, 1),
    }


def line(host: str, number: int) -> bytes:
    """A line that matters to nobody."""
    return (
        f"1:/var/log/syslog:Nov 24 03:21:42 {host} app[{number % 30_000}]: job {number} took {number % 977} ms".encode()
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=4, help="connections (%(default)s)")
    parser.add_argument("--lines", type=int, default=50_000, help="of each (%(default)s)")
    main(parser.parse_args())
