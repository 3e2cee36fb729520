#!/usr/bin/env python3
"""How long a manager takes until its workers can match: the nursery's way from exec to `NurseryReady`, cold and warm.

Each start is a fresh process that reads, loads and compiles the rulesets as the nursery does; the first finds no cache of
pattern sets, the others find what it left. Then one worker after another is forked and answers.

    tools/bench_start.py --ruleset ossec=/var/ossec --ruleset wazuh=/opt/wazuh
    tools/bench_start.py --json

Wall time, so let nothing else run meanwhile. Exit status: 0 measured, 2 the rulesets are refused.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from hids.adapters.pattern_cache import PatternCache  # noqa: E402 - the path comes first
from hids.core.decode.event import Origin  # noqa: E402
from hids.core.rules.plan import Plan  # noqa: E402
from hids.errors import ConfigError  # noqa: E402
from hids.messages.lines import LogLine  # noqa: E402
from hids.workers.nursery import Folder, compile_all  # noqa: E402

USAGE = 2
STARTS = 4
"""The first without a cache."""
LINE = LogLine("/var/log/auth.log", b"Nov 24 03:21:42 web1 sshd[712]: Failed password for root from 192.0.2.7", 0, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ruleset", action="append", metavar="DIALECT=DIR", help="default: our own rules")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--start", metavar="CACHE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    named: list[str] = options.ruleset or [f"hids={ROOT / 'rules'}"]
    if options.start:
        return _start([_folder(text) for text in named], Path(options.start))
    with tempfile.TemporaryDirectory() as cache:
        again = [f"--ruleset={text}" for text in named]
        runs = [_measured([*again, "--start", cache]) for _ in range(STARTS)]
    if None in runs:
        return USAGE
    found = [run for run in runs if run is not None]
    answer = {"cold_s": found[0][0], "warm_s": min(run[0] for run in found[1:]), "fork_s": min(run[1] for run in found)}
    if options.json:
        print(json.dumps(answer))
    else:
        print(f"from exec until workers can be forked: cold {answer['cold_s']:.2f} s, warm {answer['warm_s']:.2f} s")
        print(f"a worker that is forked has judged its first line after {answer['fork_s']:.3f} s")
    return 0


def _folder(text: str) -> Folder:
    dialect, _, path = text.partition("=")
    return Folder(dialect, path, dialect)


def _measured(arguments: list[str]) -> tuple[float, float] | None:
    """(seconds from exec until ready, seconds from fork to the first answer); None: refused."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        took = time.perf_counter() - began
        fork = process.stdout.readline()
    return (took, float(fork)) if ready and process.returncode == 0 else None


def _start(folders: list[Folder], cache: Path) -> int:
    """What the nursery does, then what a worker does."""
    try:
        plans = compile_all(folders, PatternCache(cache))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return USAGE
    for plan in plans:
        msgspec.msgpack.encode(plan.table)
    print("ready", flush=True)
    print(_forked(plans), flush=True)
    return 0


def _forked(plans: list[Plan]) -> float:
    began = time.perf_counter()
    child = os.fork()
    if not child:
        for plan in plans:
            plan.judge(plan.recognise(LINE, Origin(b"web1")))
        os._exit(0)
    os.waitpid(child, 0)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
