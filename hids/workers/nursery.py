"""The nursery: one process a set of rulesets. Loads and compiles them once, then forks workers on request.

    main --Fork + descriptors--> nursery --NurseryReady|NurseryRefused|WorkerForked|WorkerExited--> main

Executed afresh (not forked) and single-threaded, so a fork is safe and takes about a millisecond. Not multiprocessing's
fork server: that one goes on serving the old ruleset after a reload and outlives a killed manager.
"""

import argparse
import gc
import multiprocessing
import os
import socket
import sys
from collections.abc import Collection, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import msgspec

from hids.adapters.family import die_with_parent
from hids.adapters.files import write_atomically
from hids.adapters.pattern_cache import PatternCache
from hids.adapters.rulesets import read_lists, read_ruleset
from hids.core.rules.load import load
from hids.core.rules.plan import Plan, compile_plan
from hids.core.rules.rule import Ruleset
from hids.errors import ConfigError, Problem, RulesetError
from hids.messages.nursery import Fork, FromNursery, NurseryReady, NurseryRefused, WorkerExited, WorkerForked
from hids.messages.supervision import Pulse
from hids.messages.terms import Correlation
from hids.workers import worker
from hids.workers.inside import PULSE_S, collect_seldom, leave_signals_to_main, run, set_up_logging

EX_CONFIG = 78
"""Exit status when the rulesets are refused (sysexits.h)."""

DATAGRAM_BYTES = 256 * 1024
"""Longest message on the nursery's socket: a long list of problems is cut to fit."""

PROBLEMS_TOLD = 200

_encode = msgspec.msgpack.Encoder().encode
_fork_decoder = msgspec.msgpack.Decoder(Fork)


class Folder(msgspec.Struct, frozen=True):
    """One `[[ruleset]]` of manager.toml."""

    name: str
    path: str
    dialect: str
    correlation: Correlation = "native"
    only: str = ""
    """Beginning of the names of the files to read; empty: all."""
    yields: dict[str, str] = {}
    """Subject (`Ruleset.tells`) -> name of the file that is left out when a ruleset before this one tells of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, say so, and serve until main closes the socket."""
    options = _parser().parse_args(arguments)
    leave_signals_to_main()
    die_with_parent(options.parent)
    set_up_logging()
    collect_seldom()
    control = socket.socket(fileno=options.control_fd)
    folders = msgspec.json.decode(options.rulesets, type=tuple[Folder, ...])
    try:
        plans = compile_all(folders, PatternCache(Path(options.tables).with_name("patterns")))
    except ConfigError as error:
        problems = error.problems if isinstance(error, RulesetError) else (error,)
        texts = [str(problem) for problem in problems]
        if len(texts) > PROBLEMS_TOLD:
            texts[PROBLEMS_TOLD:] = [f"... and {len(texts) - PROBLEMS_TOLD} more"]
        _send(control, NurseryRefused(problems=tuple(text[:1000] for text in texts)))
        sys.exit(EX_CONFIG)
    for plan in plans:
        write_atomically(Path(options.tables) / f"{plan.hash}.msgpack", msgspec.msgpack.encode(plan.table), mode=0o600)
    gc.collect()
    gc.freeze()
    _send(
        control,
        NurseryReady(rulesets=tuple((plan.name, plan.hash, plan.counts.decoders, plan.counts.rules) for plan in plans)),
    )
    _serve(control, plans, options.manager, None if options.stats is None else Path(options.stats))


def load_folder(folder: Folder, *, strict: bool = False, without: Collection[str] = ()) -> Ruleset:
    """Read and load one ruleset; `strict`: what would be left out with a reason is a problem.

    `without` names files that are not to be read.

    Raises:
        RulesetError: with all that is wrong with it.
        ConfigError: it cannot be read.
    """
    path = Path(folder.path)
    return load(
        folder.name,
        folder.dialect,
        [file for file in read_ruleset(path) if _is_wanted(Path(file.path).name, folder.only, without)],
        read_lists(path),
        correlation=folder.correlation,
        strict=strict,
    )


def _is_wanted(name: str, beginning: str, without: Collection[str]) -> bool:
    return name.startswith(beginning) and name not in without


def compile_all(folders: Sequence[Folder], cache: PatternCache | None = None) -> list[Plan]:
    """Read, load and compile every ruleset; all problems of all of them are raised together."""
    plans: list[Plan] = []
    problems: list[Problem] = []
    told: frozenset[str] = frozenset()
    for folder in folders:
        try:
            without = [file for subject, file in folder.yields.items() if subject in told]
            ruleset = load_folder(folder, without=without)
            told |= ruleset.tells
            plans.append(compile_plan(ruleset, cache))
        except RulesetError as error:
            problems.extend(error.problems)
    if problems:
        raise RulesetError(problems)
    return plans


def _serve(control: socket.socket, plans: Sequence[Plan], manager: str, stats: Path | None) -> None:
    context = multiprocessing.get_context("fork")
    workers: dict[int, tuple[int, ForkProcess]] = {}
    while True:
        ready = connection.wait([control, *workers], timeout=PULSE_S)
        if not ready:
            _send(control, Pulse(nodes=()))
        for sentinel in ready:
            if isinstance(sentinel, int):
                number, process = workers.pop(sentinel)
                process.join()
                _send(control, WorkerExited(number, process.pid or 0, process.exitcode or 0))
        if control in ready:
            data, descriptors, _flags, _address = socket.recv_fds(control, DATAGRAM_BYTES, 2)
            if not data:
                os._exit(0)  # main is gone; workers see EOF on their own channels
            request = _fork_decoder.decode(data)
            channel_fd, progress_fd = descriptors
            process = context.Process(
                target=_become_worker,
                args=(control, os.getpid(), channel_fd, progress_fd, request.worker, plans, manager, stats),
                name=f"hids-worker-{request.worker}",
                daemon=True,
            )
            process.start()
            os.close(channel_fd)
            os.close(progress_fd)
            workers[process.sentinel] = (request.worker, process)
            _send(control, WorkerForked(request.worker, process.pid or 0))


def _become_worker(
    control: socket.socket,
    nursery: int,
    channel_fd: int,
    progress_fd: int,
    number: int,
    plans: Sequence[Plan],
    manager: str,
    stats: Path | None,
) -> None:
    control.close()
    die_with_parent(nursery)
    run(worker.main(channel_fd, progress_fd, number, plans, manager, stats))


def _send(control: socket.socket, message: FromNursery) -> None:
    try:
        control.send(_encode(message))
    except OSError:
        os._exit(0)  # main is gone


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hids-nursery", description="Started by hids-manager; not for people.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tables", required=True, help="folder for the rule tables that the lane reads")
    parser.add_argument("--stats", help="folder for what workers sample of rules; default: nothing is sampled")
    parser.add_argument("--rulesets", required=True, help="JSON list of {name, path, dialect}")
    parser.add_argument("--manager", required=True, help="the manager's name in alerts")
    return parser


if __name__ == "__main__":
    main()
