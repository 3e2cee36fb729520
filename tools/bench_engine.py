#!/usr/bin/env python3
"""What analysing a line costs: CPU seconds per million lines in one process, with everything switched on.

The actors of a worker and of the lane run here one after another, on batches as agents send them: unpack, headers,
decoders, rules, counters, alert members as JSON, correlation on a throwaway state, the alerts' final JSON, and their text
form. Every line is seen once; nothing was warmed up with it. Pattern sets that are compiled on the way are counted.

    tools/bench_engine --ruleset ossec                  (rules from $HIDS_CONFORMANCE, load from $HIDS_BENCH)
    tools/bench_engine --ruleset own --load access.log --json
    tools/bench_engine --ruleset wazuh --grow           cost at 10 %, 50 % and 100 % of the rules, and of both rulesets
    tools/bench_engine --ruleset ossec --hostile        lines that are meant to cost, beside the load

Exit status: 0 measured, 2 wrong usage.
"""

import argparse
import asyncio
import gc
import json
import lzma
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from hostile import kinds  # noqa: E402 - the path comes first
from upstream import LoadError, read_load  # noqa: E402 - the path comes first

from hids.actors.correlation_window import CorrelationWindow, Recalled  # noqa: E402
from hids.actors.decoder import Decoder, Recognition  # noqa: E402
from hids.actors.rule_shard import RuleShard  # noqa: E402
from hids.actors.stage import Mailbox  # noqa: E402
from hids.adapters.clock import SystemClock  # noqa: E402
from hids.adapters.markpage import MarkPage  # noqa: E402
from hids.adapters.outputs.file import text_lines  # noqa: E402
from hids.adapters.rulesets import read_ruleset  # noqa: E402
from hids.core.rules.load import load  # noqa: E402
from hids.core.rules.plan import Plan, compile_plan  # noqa: E402
from hids.core.rules.rule import Ruleset, SourceFile  # noqa: E402
from hids.core.wire.lines import GENESIS, cut, link, pack, unpack  # noqa: E402
from hids.errors import ConfigError  # noqa: E402
from hids.messages.evaluation import Job, Outcome  # noqa: E402
from hids.messages.lane import Applied  # noqa: E402
from hids.messages.lines import Batch, LogLine  # noqa: E402
from hids.messages.terms import Agent, AgentId, Correlation, SourceId  # noqa: E402
from hids.workers.inside import collect_seldom  # noqa: E402

USAGE = 2
AT_MS = 1_795_478_400_000
"""Event time of the first line; the load lies within one second of log time, so the lines come a millisecond apart."""
AGENT = Agent(AgentId("001"), "web1", "192.0.2.1")
WINDOW_BYTES = 256 * 1024 * 1024
UPSTREAM = {"ossec-logtest -a, the bare C engine": 4.7, "half of ossec-analysisd": 8.2, "ossec-analysisd": 16.4}
"""CPU s per million events of OSSEC 4.3 with its own rules, where the calibration printed `CALIBRATED_S`."""
CALIBRATED_S = 0.80
HOSTILE_LINES = 20_000
"""Of each kind."""
PHASES = ("decode", "rules", "correlate", "text")


class Cost(NamedTuple):
    """What one run over the load cost."""

    lines: int
    alerts: int
    start_s: float
    """Load and compile, before the first line."""
    phases: dict[str, float]
    """CPU seconds of each step."""
    unpack_s: float
    """Part of `decode` that is decompressing and reading the batches."""

    @property
    def per_million(self) -> float:
        """CPU seconds per million lines."""
        return sum(self.phases.values()) * 1e6 / self.lines


def read_lines(path: Path) -> list[LogLine]:
    """The lines of a log, .xz or plain; where a file NAME.loc.xz stands beside it, it names their locations."""
    texts = _file_lines(path)
    beside = path.with_name(path.name.split(".")[0] + ".loc.xz")
    places = [name.decode() for name in _file_lines(beside)] if beside.exists() else ["/var/log/syslog"] * len(texts)
    return [
        LogLine(place, text, AT_MS + number, AT_MS + number)
        for number, (place, text) in enumerate(zip(places, texts, strict=True))
    ]


def _file_lines(path: Path) -> list[bytes]:
    data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return data.rstrip(b"\n").split(b"\n")


def jobs(lines: Sequence[LogLine]) -> list[Job]:
    """Batches as a session hands them to a worker."""
    made: list[Job] = []
    chain, seq = GENESIS, 1
    for part in cut(lines):
        data = pack(part)
        chain = link(chain, data)
        batch = Batch(epoch=1, first_seq=seq, count=len(part), chain=chain, data=data)
        made.append(Job(source=SourceId("agent/001"), agent=AGENT, batch=batch, received_ms=part[-1].read_ms))
        seq += len(part)
    return made


async def measure(plans: Sequence[Plan], batches: Sequence[Job], log_level: int, start_s: float) -> Cost:
    """Run every batch through the actors of worker and lane, and add up what each step took."""
    recognitions: list[Recognition] = []
    outcomes: list[Outcome] = []
    applied: list[Applied] = []
    page = MarkPage.new()
    mark = page.mark
    tables = {plan.hash: plan.table for plan in plans}
    decoder = Decoder(Mailbox("decoder", 4), plans, mark, recognitions.append)
    shard = RuleShard(Mailbox("rules", 4), plans, mark, outcomes.append, worker=0, manager="bench")
    lane = CorrelationWindow(
        Mailbox("lane", 4),
        Recalled(progress={}, fired={}, next_alert=1, notices={}),
        lambda _key: None,
        tables.__getitem__,
        lambda *_batch: False,
        SystemClock(),
        applied.append,
        log_level=log_level,
        budget_bytes=WINDOW_BYTES,
    )
    spent = dict.fromkeys(PHASES, 0.0)
    unpacking = 0.0
    alerts = 0
    for job in batches:
        steps: tuple[Callable[[], object], ...] = (
            partial(decoder.on_receive, job),
            lambda: shard.on_receive(recognitions.pop()),
            lambda: lane.on_receive(outcomes.pop()),
            lambda: text_lines(b"".join(applied[-1].alerts), None),
        )
        for name, step in zip(PHASES, steps, strict=True):
            spent[name] += _cpu(step)
        alerts += len(applied.pop().alerts)
        unpacking += _cpu(partial(unpack, job.batch.data, job.batch.count))
    page.close()
    return Cost(sum(job.batch.count for job in batches), alerts, start_s, spent, unpacking)


def _cpu(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


# ---- rulesets -------------------------------------------------------------------------------------------------


def rulesets(name: str, correlation: Correlation, share: float = 1.0) -> tuple[list[Ruleset], int]:
    """The rulesets to run, and the level from which on they alert; `share` keeps the first part of their rules."""
    if name == "both":
        (ossec,), level = rulesets("ossec", correlation, share)
        (wazuh,), _ = rulesets("wazuh", correlation, share)
        return [ossec, wazuh], level
    if name == "own":
        return [load("hids", "hids", _part(read_ruleset(ROOT / "rules"), share))], 3
    folder = Path(_variable("HIDS_CONFORMANCE")) / name
    order = read_load(folder / "load.json", {"ossec": "rules", "wazuh": "production"}[name])
    return [load(name, name, _part(order.files, share), order.lists, correlation=correlation)], order.alert_level


def _part(files: Sequence[SourceFile], share: float) -> list[SourceFile]:
    """All decoders, and the files of rules up to this share of all rules."""
    rules = [file.text.count(b"<rule ") for file in files]
    limit = share * sum(rules)
    kept: list[SourceFile] = []
    so_far = 0
    for file, count in zip(files, rules, strict=True):
        if count == 0 or so_far + count <= limit or so_far == 0:
            kept.append(file)
            so_far += count
    return kept


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise LoadError(f"{name} is not set; it names the folder with upstream's data")
    return value


def run(name: str, batches: Sequence[Job], correlation: Correlation = "native", share: float = 1.0) -> tuple[Cost, int]:
    """Load, compile and measure; also tells how many rules there are."""
    began = time.process_time()
    found, level = rulesets(name, correlation, share)
    plans = [compile_plan(ruleset) for ruleset in found]
    gc.collect()
    gc.freeze()  # as a nursery does
    collect_seldom()
    start_s = time.process_time() - began
    cost = asyncio.run(_measured(plans, batches, level, start_s))
    return cost, sum(len(ruleset.rules) for ruleset in found)


async def _measured(plans: Sequence[Plan], batches: Sequence[Job], level: int, start_s: float) -> Cost:
    return await measure(plans, batches, level, start_s)


# ---- output ---------------------------------------------------------------------------------------------------


def calibration() -> float | None:
    """Factor from the machine of OSSEC's figures to this one; None without the data folder."""
    folder = os.environ.get("HIDS_BENCH")
    if folder is None:
        return None
    command = [sys.executable, str(Path(folder) / "calibrate.py")]
    took = [
        float(
            re.search(r"([0-9.]+) CPU s", subprocess.run(command, check=True, capture_output=True, text=True).stdout)[1]
        )  # type: ignore[index]
        for _ in range(3)
    ]
    return min(took) / CALIBRATED_S


def show(name: str, cost: Cost, factor: float | None) -> None:
    """Print one run for people."""
    print(f"{name}: {cost.lines} lines, {cost.alerts} alerts, started in {cost.start_s:.2f} CPU s")
    print(f"  {cost.per_million:.2f} CPU s per million lines")
    for phase, seconds in cost.phases.items():
        print(f"    {seconds * 1e6 / cost.lines:6.2f}  {phase}")
    print(f"    ({cost.unpack_s * 1e6 / cost.lines:.2f} of decode is unpacking batches)")
    if factor is not None and name == "ossec":
        print(f"  OSSEC on the same load, scaled to this machine (x {factor:.2f}):")
        for what, seconds in UPSTREAM.items():
            print(f"    {seconds * factor:6.2f}  {what}")


def as_json(name: str, cost: Cost, factor: float | None) -> dict[str, Any]:
    """One run for programs."""
    return {
        "ruleset": name,
        "lines": cost.lines,
        "alerts": cost.alerts,
        "cpu_s_per_million": round(cost.per_million, 3),
        "phases": {phase: round(s * 1e6 / cost.lines, 3) for phase, s in cost.phases.items()},
        "unpack": round(cost.unpack_s * 1e6 / cost.lines, 3),
        "start_cpu_s": round(cost.start_s, 3),
        "machine_factor": None if factor is None else round(factor, 3),
        "ossec_scaled": None if factor is None else {w: round(s * factor, 2) for w, s in UPSTREAM.items()},
    }


def grow(name: str, batches: Sequence[Job], correlation: Correlation) -> Iterator[dict[str, Any]]:
    """Cost with parts of the rules, then with both rulesets."""
    for share in (0.1, 0.5, 1.0):
        cost, rules = run(name, batches, correlation, share)
        print(f"{share:5.0%} of {name}: {rules:5} rules, {cost.per_million:6.2f} CPU s per million lines", flush=True)
        yield {"ruleset": name, "share": share, "rules": rules, "cpu_s_per_million": round(cost.per_million, 3)}
    if name != "own":
        cost, rules = run("both", batches, correlation)
        print(f"  both rulesets: {rules:5} rules, {cost.per_million:6.2f} CPU s per million lines", flush=True)
        yield {"ruleset": "both", "share": 1.0, "rules": rules, "cpu_s_per_million": round(cost.per_million, 3)}


def hostile(name: str, lines: Sequence[LogLine], correlation: Correlation) -> Iterator[dict[str, Any]]:
    """Cost of lines that are meant to cost, and how many times that of the load it is."""
    usual = run(name, jobs(lines), correlation)[0].per_million
    print(f"{name}, the load: {usual:.2f} CPU s per million lines")
    (ruleset, *_), _level = rulesets(name, correlation)
    for kind, make in kinds(ruleset, lines[:5000]).items():
        made = [LogLine("/var/log/syslog", make(n), AT_MS + n, AT_MS + n) for n in range(HOSTILE_LINES)]
        cost = run(name, jobs(made), correlation)[0].per_million
        print(f"  {kind:40}{cost:8.2f}  x {cost / usual:.2f}", flush=True)
        yield {"kind": kind, "cpu_s_per_million": round(cost, 3), "times": round(cost / usual, 2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/bench_engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ruleset", choices=("ossec", "wazuh", "own", "both"), default="ossec")
    parser.add_argument("--load", type=Path, help="log file to read, .xz too; default: the realistic load")
    parser.add_argument("--lines", type=int, help="only the first so many lines")
    parser.add_argument("--correlation", choices=("native", "compat"), default="native")
    parser.add_argument("--grow", action="store_true", help="measure with parts of the rules, too")
    parser.add_argument("--hostile", action="store_true", help="measure lines that are meant to cost, too")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args(arguments)
    result: dict[str, Any]
    try:
        path = options.load or Path(_variable("HIDS_BENCH")) / "realistic.log.xz"
        lines = read_lines(path)[: options.lines]
        batches = jobs(lines)
        factor = calibration()
        if options.hostile:
            result = {"hostile": list(hostile(options.ruleset, lines, options.correlation))}
        elif options.grow:
            result = {"grow": list(grow(options.ruleset, batches, options.correlation))}
            result["cpu_s_per_million"] = result["grow"][2]["cpu_s_per_million"]
        else:
            cost, _rules = run(options.ruleset, batches, options.correlation)
            show(options.ruleset, cost, factor)
            result = as_json(options.ruleset, cost, factor)
    except (LoadError, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return USAGE
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
