"""How fast evidence is verified, and whether one changed byte in a month of alerts is found and named.

    python tools/bench_evidence.py [--mib 5120] [--seal-kib 4096] [--packed]

Makes 30 days of alert files of so many MiB in all, sealed in pieces of a size (a busy manager's are some MiB; one seal a
second of a quiet one has a few KiB), changes one byte in the middle of one day, and verifies.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench_index import rows

from hids.adapters.clock import SystemClock
from hids.adapters.evidence import seals as sealing
from hids.adapters.evidence.heads import Heads
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.evidence.streams import records_of
from hids.adapters.evidence.verify import verify
from hids.adapters.retention import compress
from hids.adapters.rotated import rotated

DAYS = 30
MIB = 1024 * 1024
BLOCK_ALERTS = 2_000


def make(folder: Path, mib: int, key: EvidenceKey) -> Path:
    """Days of alert files; returns the one that is written to now."""
    path = folder / "alerts.json"
    heads = Heads(folder / "evidence" / "alerts.json.heads", key)
    block = next(rows(BLOCK_ALERTS, BLOCK_ALERTS)).lines
    today = datetime.now(UTC).date()
    for day in range(DAYS, 0, -1):
        with path.open("wb") as file:
            for _ in range(max(1, mib * MIB // DAYS // len(block))):
                file.write(block)
        seals = sealing.Seals(path, records_of(path.name), heads, SystemClock(), head_every_s=0.0)
        size = path.stat().st_size
        fd = os.open(path, os.O_RDONLY)
        seals.go_on(fd, 0)
        while seals.sealed < size:
            seals.seal(fd, size)
            seals.tick()
        os.close(fd)
        seals.rotate(today - timedelta(days=day))
    path.touch()
    return path


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=5120)
    parser.add_argument("--seal-kib", type=int, default=4096)
    parser.add_argument("--packed", action="store_true", help="compress the days, as the manager does")
    options = parser.parse_args()
    sealing.PIECE_BYTES = options.seal_kib * 1024
    folder = Path(tempfile.mkdtemp(prefix="hids-evidence-"))
    try:
        key = EvidenceKey.open_or_create(folder / "evidence")
        path = make(folder, options.mib, key)
        victim = rotated(path)[DAYS // 2]
        place = random.Random(1).randrange(victim.path.stat().st_size)  # noqa: S311 - the same each time
        with victim.path.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 1]))
        if options.packed:
            for old in rotated(path):
                compress(old.path, old.packed)
                old.path.unlink()
        began = time.perf_counter()
        verdict = verify(folder / "evidence", [path], key.public)
        took_s = time.perf_counter() - began
        print(
            f"{verdict.bytes / MIB:.0f} MiB, {verdict.records} records, {verdict.seals} seals of up to {options.seal_kib} KiB"
            f"{', packed' if options.packed else ''}: {took_s:.1f} s, {verdict.bytes / MIB / took_s:.0f} MiB/s"
        )
        for problem in verdict.problems:
            print(problem)
        assert [problem.file.removesuffix(".gz") for problem in verdict.problems] == [str(victim.path)]
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
