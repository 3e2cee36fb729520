"""What the search index costs: CPU seconds and bytes for 100,000 alerts, by alerts a transaction.

    python tools/bench_index.py [alerts]

The alerts are made up: failed logins with addresses, users and ports that vary.
Budget: 30,000 alerts/s on one core.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hids.adapters.outbox import OutboxRow
from hids.adapters.search import Search
from hids.adapters.search_index import SearchIndex
from hids.adapters.search_query import Query

ROW_ALERTS = (20, 500, 4000)
"""A quiet manager, a busy one, and one that catches up."""


def rows(alerts: int, size: int) -> Iterator[OutboxRow]:
    """So many alerts, in rows of `size`."""
    numbers = random.Random(1)  # noqa: S311 - the same load each time
    for first in range(1, alerts + 1, size):
        lines = b"".join(_alert(number, numbers) for number in range(first, first + size))
        yield OutboxRow(first=first, count=size, lines=lines)


def _alert(number: int, numbers: random.Random) -> bytes:
    address = ".".join(str(numbers.randrange(1, 255)) for _ in range(4))
    user, port = f"user{numbers.randrange(5000)}", str(numbers.randrange(1024, 65536))
    host = numbers.randrange(1, 50)
    at = datetime.fromtimestamp(1_795_490_503 + number / 1000, UTC)
    log = f"Failed password for {user} from {address} port {port} ssh2"
    alert = {
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{number % 1000:03d}+0000",
        "rule": {
            "level": numbers.choice((3, 5, 5, 5, 10)),
            "description": "sshd: authentication failed",
            "id": str(200100 + numbers.randrange(40)),
            "firedtimes": number,
            "mail": False,
            "groups": ["syslog", "sshd", "authentication_failed"],
        },
        "id": f"{host:03d}-1-{number}",
        "agent": {"id": f"{host:03d}", "name": f"web{host}", "ip": f"10.0.0.{host}"},
        "manager": {"name": "boss"},
        "full_log": f"{at:%b %d %H:%M:%S} web{host} sshd[{port}]: {log}",
        "predecoder": {"program_name": "sshd", "timestamp": "Nov 24 03:21:42", "hostname": f"web{host}"},
        "decoder": {"parent": "sshd", "name": "sshd-failed"},
        "data": {"srcip": address, "srcport": port, "dstuser": user},
        "location": "/var/log/auth.log",
        "hids": {"number": number, "source": f"agent/{host:03d}", "seq": number, "epoch": 1},
    }
    return msgspec.json.encode(alert) + b"\n"


def main() -> None:
    """Print a line for each size of rows, then what questions cost."""
    alerts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{'alerts a row':>12} {'CPU s/100k':>11} {'wall s/100k':>11} {'alerts/s':>9} {'bytes/alert':>11}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for size in ROW_ALERTS:
            path = Path(folder, f"{size}.db")
            load = list(rows(alerts, size))
            with closing(SearchIndex(path, newest=sys.maxsize)) as index:
                cpu_s, wall_s = time.process_time(), time.monotonic()
                for row in load:
                    index.add([row])
                cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
                count = index.number
            cost = f"{cpu_s * 1e5 / count:>11.2f} {wall_s * 1e5 / count:>11.2f} {count / wall_s:>9.0f}"
            print(f"{size:>12} {cost} {path.stat().st_size / count:>11.0f}")
        _ask(path)


def _ask(path: Path) -> None:
    print("\nquestion, 50 newest                     ms")
    for name, query in (
        ("all", Query()),
        ("level 10 of one agent", Query(level_min=10, agent="web7")),
        ("a rule that never fired", Query(rule=1)),
        ("a common word", Query(text="sshd")),
        ("one address", Query(text="192.0.2.7")),
        ("two common words, level 10", Query(text="password failed", level_min=10)),
    ):
        with closing(Search(path)) as search:
            start = time.monotonic()
            found = len(list(search.find(query)))
            print(f"{name:<28} {found:>3} found {(time.monotonic() - start) * 1000:>6.1f}")


if __name__ == "__main__":
    main()
